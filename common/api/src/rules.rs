//! The CEL rules: what one object alone shows to be wrong is refused at `kubectl apply`.
//!
//! Each message says what is wrong in the words MetalLB's users search for, and the remedy;
//! the API server adds the field's path and its value. `clarion_config::parse` checks all
//! of this again, since an older cluster, or an object stored before the rules were, may
//! let it through. `tests/fixtures/` has an object for every rule.
//!
//! Rules are guarded by the ones before them (a range that cannot be read is not called
//! reversed too), so that a user reads one message a mistake.

use crate::shape::Shape;

/// A value that is there stays as it is.
pub(crate) const IMMUTABLE: &str = "self == oldSelf";

/// Go's notation without sign, as `metav1.Duration` writes it.
const DURATION: &str = r"^(0|([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|ms|s|m|h))*)$";

const NO_DUPLICATES: &str = "self.all(a, self.exists_one(b, a == b))";

/// First and last address of a range. Indices instead of `all`: the API server charges a
/// comprehension over the parts as if there were one for every character.
const ENDS: [&str; 2] = ["self.split('-')[0].trim()", "self.split('-')[1].trim()"];

fn is_range() -> String {
    format!("self.split('-').size() == 2 && isIP({}) && isIP({})", ENDS[0], ENDS[1])
}

/// Names of objects in a list that must be unique.
pub(crate) fn unique_names(field: &str, max_items: u32) -> Shape {
    Shape::list(max_items, Shape::text(253))
        .rule(NO_DUPLICATES, format!("duplicate definition of {field}: write each name once"))
}

/// `spec.addresses` of a pool: every entry readable, the right way round, no prefix inside
/// another. Ranges that overlap are left to `parse`: CEL's addresses have no order, and
/// making one for every pair of entries costs more than the API server grants.
pub(crate) fn addresses() -> Shape {
    let entry = Shape::text(100).rule(
        format!("isCIDR(self) || ({})", is_range()),
        "invalid CIDR: write a prefix (192.0.2.0/24, one address as 192.0.2.1/32) or a range (192.0.2.10-192.0.2.20)",
    );
    Shape::list(256, ordered(entry))
        .rule("self.size() > 0", "pool has no prefixes defined: write at least one prefix or range into addresses")
        .rule(
            // Each prefix contains one prefix of the list: itself.
            "self.all(a, !isCIDR(a) || self.exists_one(b, isCIDR(b) && cidr(a).containsCIDR(b)))",
            "CIDR overlaps with already defined CIDR: remove the prefix that lies inside another one of addresses",
        )
        .rule(
            "self.all(a, isCIDR(a) || self.exists_one(b, a == b))",
            "CIDR overlaps with already defined CIDR: write each range of addresses once",
        )
}

/// `spec.excludeAddresses` of a pool: every entry readable, and the right way round. What is
/// excluded twice, or not there to be excluded, does no harm.
pub(crate) fn exclude_addresses() -> Shape {
    let entry = Shape::text(100).rule(
        format!("isCIDR(self) || isIP(self) || ({})", is_range()),
        "invalid address: write an address (192.0.2.1), a prefix (192.0.2.0/30) or a range (192.0.2.10-192.0.2.20)",
    );
    Shape::list(256, ordered(entry))
}

/// An entry that is a range has ends of one family, the lower one first.
fn ordered(entry: Shape) -> Shape {
    let is_range = is_range();
    let [first, last] = ENDS;
    let family = |n: u8| format!("{is_range} && ip({first}).family() == {n} && ip({last}).family() == {n}");
    let reversed = "invalid IP range: start IP is after the end IP; write the lower address first";
    entry
        .rule(
            format!("!({is_range}) || ip({first}).family() == ip({last}).family()"),
            "invalid IP range: start and end are of different families; write two IPv4 or two IPv6 addresses",
        )
        .rule(format!("!({}) || {} <= {}", family(4), number_v4(first), number_v4(last)), reversed)
        .rule(ordered_v6(&family(6)), reversed)
}

/// The number that the four parts of an IPv4 address make.
fn number_v4(address: &str) -> String {
    let part = |n: u8| format!("int({address}.split('.')[{n}])");
    format!("{} * 16777216 + {} * 65536 + {} * 256 + {}", part(0), part(1), part(2), part(3))
}

/// Order of IPv6 ranges whose ends differ in the last group only, as nearly all do: four
/// hexadecimal digits compare as text like the groups do as numbers. Writing out `::` to
/// compare the others costs a hundred times what the API server grants.
fn ordered_v6(both_v6: &str) -> String {
    let prefix = |end: &str| format!("{end}.lowerAscii().substring(0, {end}.lastIndexOf(':'))");
    let group = |end: &str| format!("{end}.lowerAscii().substring({end}.lastIndexOf(':') + 1)");
    let padded = |end: &str| format!("'0000'.substring(size({0})) + {0}", group(end));
    let [first, last] = ENDS;
    format!(
        "!({both_v6} && !self.contains('.') && {} == {}) || {} <= {}",
        prefix(first),
        prefix(last),
        padded(first),
        padded(last),
    )
}

/// Aggregation excludes selection by Service. The message is MetalLB's to the letter.
pub(crate) fn bgp_advertisement() -> Shape {
    Shape::any().rule(
        "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || \
         ((!has(self.aggregationLength) || self.aggregationLength == 32) && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))",
        "serviceSelectors and aggregationLength are mutually exclusive, can only be used together with default aggregationLength (32) and aggregationLengthV6 (128)",
    )
}

const COMMUNITY_REMEDY: &str =
    "write N:N (0 to 65535 each), large:N:N:N (0 to 4294967295 each) or the name of an alias of a Community";

fn is_community() -> &'static str {
    "(self.matches('^[0-9]{1,10}:[0-9]{1,10}$') && self.split(':').all(n, int(n) <= 65535)) || \
     (self.matches('^large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$') && self.substring(6).split(':').all(n, int(n) <= 4294967295))"
}

/// Communities of an advertisement. Whatever does not look like a number may be an alias
/// that is made later.
pub(crate) fn communities() -> Shape {
    let entry = Shape::text(253).rule(
        format!("!self.matches('^(large:)?[0-9:]*$') || {}", is_community()),
        format!("invalid community value: {COMMUNITY_REMEDY}"),
    );
    Shape::list(256, entry)
        .rule(NO_DUPLICATES, "duplicate definition of community: write each community once")
}

/// Aliases: named, and each name once.
pub(crate) fn aliases() -> Shape {
    let alias = Shape::any()
        .rule("has(self.name) && self.name != ''", "community alias without name: set name")
        .rule("has(self.value)", "community alias without value: set value to N:N or large:N:N:N");
    Shape::list(256, alias).rule(
        "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && a.name == b.name))",
        "duplicate definition of community: give each alias a name of its own",
    )
}

/// The value of an alias.
pub(crate) fn community_value() -> Shape {
    Shape::text(64).rule(
        is_community(),
        "invalid community value: write N:N (0 to 65535 each) or large:N:N:N (0 to 4294967295 each)",
    )
}

/// Rules between the fields of a peer.
pub(crate) fn bgp_peer() -> Shape {
    let asn = "has(self.peerASN) && self.peerASN != 0";
    let address = "has(self.peerAddress) && self.peerAddress != ''";
    let interface = "has(self.interface) && self.interface != ''";
    Shape::any()
        .rule(
            format!("({asn}) || has(self.dynamicASN)"),
            "missing peer ASN and dynamicASN: set peerASN, or dynamicASN to internal or external",
        )
        .rule(
            format!("!({asn} && has(self.dynamicASN))"),
            "both peer ASN and dynamicASN specified: remove peerASN or dynamicASN",
        )
        .rule(
            format!("({address}) || ({interface})"),
            "peer has no Address or Interface specified: set peerAddress or interface",
        )
        .rule(
            format!("!({address} && {interface})"),
            "peer has both Address and Interface specified: remove peerAddress or interface",
        )
        .rule(
            format!("!(has(self.ebgpMultiHop) && self.ebgpMultiHop && {asn} && self.peerASN == self.myASN)"),
            "invalid ebgp-multihop parameter set for an ibgp peer: peerASN equals myASN; remove ebgpMultiHop",
        )
        .rule(
            "!(has(self.password) && self.password != '' && has(self.passwordSecret) && has(self.passwordSecret.name) && self.passwordSecret.name != '')",
            "can not have both password and secret ref set: remove password or passwordSecret",
        )
        .rule(
            format!(
                "!has(self.holdTime) || !has(self.keepaliveTime) || !self.holdTime.matches('{DURATION}') || !self.keepaliveTime.matches('{DURATION}') || \
                 duration(self.keepaliveTime) <= duration(self.holdTime)"
            ),
            "invalid keepaliveTime, must be lower than holdTime: a third of holdTime is usual",
        )
}

/// AS 0 is reserved (RFC 7607); the schema's bound stays MetalLB's, so that the message
/// can say what is missing.
pub(crate) fn my_asn() -> Shape {
    Shape::int(0, i64::from(u32::MAX))
        .rule("self != 0", "missing local ASN: set myASN to a number from 1 to 4294967295")
}

/// An IP address; empty counts as absent, as Go's clients write it.
pub(crate) fn ip_literal(field: &str, words: &str) -> Shape {
    Shape::text(64).rule(
        "self == '' || isIP(self)",
        format!("{words}: set {field} to an IP address like 192.0.2.1 or 2001:db8::1"),
    )
}

/// A BGP identifier (RFC 6286): four octets, not all zero.
pub(crate) fn router_id() -> Shape {
    Shape::text(64).rule(
        "self == '' || (isIP(self) && ip(self).family() == 4 && self != '0.0.0.0')",
        "invalid router ID: set routerID to four numbers like 192.0.2.1, not 0.0.0.0",
    )
}

/// The name of a network device, which the kernel limits to 15 bytes without blank or slash.
pub(crate) fn device(field: &str) -> Shape {
    Shape::text(15).rule(
        r"self.matches('^[^\\s/]*$')",
        format!("{field} contains invalid characters: write the name as ip link prints it"),
    )
}

/// Go's notation of a duration.
pub(crate) fn duration(field: &str) -> Shape {
    Shape::text(32).rule(
        format!("self.matches('{DURATION}')"),
        format!("invalid duration: write {field} like 30s, 1m30s or 0"),
    )
}

/// 0 or three seconds and more (RFC 4271 §4.2), and no more than its 16 bits can say.
pub(crate) fn hold_time() -> Shape {
    duration("holdTime").rule(
        format!(
            "!self.matches('{DURATION}') || duration(self) == duration('0s') || (duration(self) >= duration('3s') && duration(self) <= duration('65535s'))"
        ),
        "invalid hold time: must be 0 or >=3s, and at most 65535s; 90s is usual",
    )
}

/// Whole seconds, as the field is handed to routing stacks.
pub(crate) fn connect_time() -> Shape {
    duration("connectTime")
        .rule(
            format!(
                "!self.matches('{DURATION}') || (duration(self) >= duration('1s') && duration(self) <= duration('65535s'))"
            ),
            "connect time should be between 1 seconds to 65535",
        )
        .rule(
            format!("!self.matches('{DURATION}') || duration(self).getMilliseconds() % 1000 == 0"),
            "connect time should contain a whole number of seconds",
        )
}

/// A password: no line breaks, and no longer than the kernel's TCP-MD5 keys.
pub(crate) fn password() -> Shape {
    Shape::text(80)
        .rule(r"!self.matches('[\\r\\n]')", "password contains invalid characters: write it on one line")
}

/// The message is MetalLB's to the letter.
pub(crate) fn graceful_restart() -> Shape {
    Shape::any().rule(IMMUTABLE, "EnableGracefulRestart cannot be changed after creation")
}
