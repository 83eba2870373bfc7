package kubelet

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// network is the node's pod network: a bridge with the first address of each
// pod CIDR, and a veth pair per pod. Other nodes are reached by routes, so it
// is what the simplest CNI plugins do (bridge, host-local, no overlay).
type network struct {
	bridge netlink.Link
	pools  []*pool
}

// newNetwork makes the bridge, gives it its addresses and lets the node forward.
func newNetwork(config Config) (*network, error) {
	for _, path := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+path, []byte("1"), 0o644); err != nil {
			return nil, fmt.Errorf("let the node forward: %w", err)
		}
	}
	bridge, err := ensureBridge(config.Bridge, stableMAC(config.NodeName))
	if err != nil {
		return nil, err
	}
	if err := removePorts(bridge); err != nil {
		return nil, err
	}
	n := &network{bridge: bridge}
	for _, cidr := range config.PodCIDRs {
		pool := newPool(cidr)
		n.pools = append(n.pools, pool)
		if err := addAddress(netlink.AddrReplace, bridge, pool.gateway, cidr.Bits()); err != nil {
			return nil, fmt.Errorf("address of bridge %s: %w", config.Bridge, err)
		}
	}
	return n, nil
}

// ensureBridge makes the bridge with a MAC of its own: by default it would
// change with the ports, and neighbours would have to learn it again.
func ensureBridge(name string, mac net.HardwareAddr) (netlink.Link, error) {
	if link, err := netlink.LinkByName(name); err == nil {
		return link, netlink.LinkSetUp(link)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.HardwareAddr = name, mac
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
		return nil, fmt.Errorf("make bridge %s: %w", name, err)
	}
	// Duplicate address detection would keep its link-local address tentative
	// until the first pod brings a carrier, and a second longer.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0o644); err != nil {
		return nil, fmt.Errorf("bridge %s: %w", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find bridge %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set bridge %s up: %w", name, err)
	}
	return link, nil
}

// removePorts removes the ports of pods of an earlier kubelet. They end with
// their namespaces too, but some time after the last process in them.
func removePorts(bridge netlink.Link) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, link := range links {
		attributes := link.Attrs()
		if attributes.MasterIndex != bridge.Attrs().Index || !strings.HasPrefix(attributes.Name, "veth") {
			continue
		}
		if err := netlink.LinkDel(link); err != nil && !isGone(err) {
			return fmt.Errorf("remove %s of an earlier pod: %w", attributes.Name, err)
		}
	}
	return nil
}

// stableMAC is a locally administered unicast MAC that depends on text only.
func stableMAC(text string) net.HardwareAddr {
	hash := fnv.New64a()
	hash.Write([]byte(text))
	sum := hash.Sum(nil)
	return net.HardwareAddr{0x0a, 0x58, sum[0], sum[1], sum[2], sum[3]}
}

type addressCall func(netlink.Link, *netlink.Addr) error

func addAddress(call addressCall, link netlink.Link, address netip.Addr, bits int) error {
	return call(link, &netlink.Addr{
		IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, address.BitLen())},
		Flags: unix.IFA_F_NODAD,
	})
}

// hostEnd is the name of the node's end of a pod's veth pair.
func hostEnd(uid string) string {
	return "veth" + strings.ReplaceAll(uid, "-", "")[:10]
}

// attach gives the network namespace of process pid an eth0 on the bridge with
// one address of each pod CIDR, and default routes.
func (n *network) attach(pid int, uid string) ([]netip.Addr, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the pod's network namespace: %w", err)
	}
	defer unix.Close(fd)
	inside, err := newHandle(fd)
	if err != nil {
		return nil, err
	}
	defer inside.Close()
	if err := n.addVeth(fd, uid); err != nil {
		return nil, err
	}
	addresses, err := n.allocate()
	if err != nil {
		return nil, err
	}
	if err := n.configure(inside, addresses); err != nil {
		n.release(addresses)
		return nil, err
	}
	return addresses, nil
}

func (n *network) addVeth(namespace int, uid string) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MasterIndex = hostEnd(uid), n.bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(namespace)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make veth pair: %w", err)
	}
	link, err := netlink.LinkByName(attributes.Name)
	if err != nil {
		return fmt.Errorf("find veth: %w", err)
	}
	// A pod reaches itself through its Service only by a hairpin.
	if err := netlink.LinkSetHairpin(link, true); err != nil {
		return fmt.Errorf("set hairpin mode: %w", err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set veth up: %w", err)
	}
	return nil
}

// configure sets addresses and routes inside the pod.
func (n *network) configure(inside *netlink.Handle, addresses []netip.Addr) error {
	for _, name := range []string{"lo", "eth0"} {
		link, err := inside.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s in the pod: %w", name, err)
		}
		if err := inside.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s up in the pod: %w", name, err)
		}
	}
	link, err := inside.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0 in the pod: %w", err)
	}
	for i, address := range addresses {
		pool := n.pools[i]
		if err := addAddress(inside.AddrAdd, link, address, pool.cidr.Bits()); err != nil {
			return fmt.Errorf("pod address %s: %w", address, err)
		}
		route := netlink.Route{LinkIndex: link.Attrs().Index, Gw: pool.gateway.AsSlice()}
		if err := inside.RouteAdd(&route); err != nil {
			return fmt.Errorf("default route of the pod by %s: %w", pool.gateway, err)
		}
	}
	return nil
}

func (n *network) allocate() ([]netip.Addr, error) {
	var addresses []netip.Addr
	for _, pool := range n.pools {
		address, err := pool.take()
		if err != nil {
			n.release(addresses)
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

func (n *network) release(addresses []netip.Addr) {
	for i, address := range addresses {
		n.pools[i].give(address)
	}
}

// detach removes the pod's veth pair and frees its addresses.
func (n *network) detach(uid string, addresses []netip.Addr) {
	if link, err := netlink.LinkByName(hostEnd(uid)); err == nil {
		if err := netlink.LinkDel(link); err != nil && !isGone(err) {
			// The namespace takes its end, and so this one, along anyway.
			return
		}
	}
	n.release(addresses)
}

func isGone(err error) bool { return err == unix.ENODEV || err == unix.ENOENT }
