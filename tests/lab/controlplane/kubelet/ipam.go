package kubelet

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// pool gives out the addresses of one pod network. It goes round, so that an
// address that was just freed, and may still be in caches, is the last to be
// given again.
type pool struct {
	cidr netip.Prefix
	// gateway is the first address, the bridge's.
	gateway netip.Addr
	mu      sync.Mutex
	last    netip.Addr
	used    map[netip.Addr]bool
}

func newPool(cidr netip.Prefix) *pool {
	gateway := cidr.Masked().Addr().Next()
	return &pool{cidr: cidr, gateway: gateway, last: gateway, used: map[netip.Addr]bool{}}
}

// take returns the next free address, never the network's own, the gateway's
// or, for IPv4, the broadcast address.
func (p *pool) take() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.gateway.Next()
	candidate := p.last
	// One round passes every used address and the wrap at most once.
	for range len(p.used) + 2 {
		candidate = candidate.Next()
		if !p.cidr.Contains(candidate) || candidate.Is4() && !p.cidr.Contains(candidate.Next()) {
			candidate = first
		}
		if !p.used[candidate] {
			p.used[candidate], p.last = true, candidate
			return candidate, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no free address in %s: %d pods have one", p.cidr, len(p.used))
}

func (p *pool) give(address netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, address)
}

// newHandle opens a netlink socket in the namespace of an open file.
func newHandle(fd int) (*netlink.Handle, error) {
	handle, err := netlink.NewHandleAt(netns.NsHandle(fd))
	if err != nil {
		return nil, fmt.Errorf("open netlink in the pod: %w", err)
	}
	return handle, nil
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}
