package kubelet

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// watchNodes keeps a route to every other node's pod networks, and returns a
// channel that says when this node's own status has to be written again.
func (k *Kubelet) watchNodes(ctx context.Context) (<-chan struct{}, error) {
	repair := make(chan struct{}, 1)
	changed := func(object any) {
		node, ok := object.(*corev1.Node)
		switch {
		case !ok:
		case node.Name == k.config.NodeName && !isReady(node):
			select {
			case repair <- struct{}{}:
			default:
			}
		case node.Name != k.config.NodeName && k.config.Routes:
			k.setRoutes(node, true)
		}
	}
	gone := func(object any) {
		if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = unknown.Obj
		}
		node, ok := object.(*corev1.Node)
		if !ok {
			return
		}
		if node.Name != k.config.NodeName {
			if k.config.Routes {
				k.setRoutes(node, false)
			}
			return
		}
		// Deleted under a living kubelet: it registers again, as kubelets do.
		select {
		case repair <- struct{}{}:
		default:
		}
	}
	factory := informers.NewSharedInformerFactory(k.client, 0)
	_, err := factory.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, object any) { changed(object) }, DeleteFunc: gone,
	})
	if err != nil {
		return nil, fmt.Errorf("watch nodes: %w", err)
	}
	factory.Start(ctx.Done())
	return repair, nil
}

func isReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podRoute is one route: to a pod network by a node's address.
type podRoute struct {
	network netip.Prefix
	gateway netip.Addr
}

// podRoutes pairs a node's pod networks with its addresses, family by family.
func podRoutes(node *corev1.Node) []podRoute {
	var routes []podRoute
	for _, cidr := range node.Spec.PodCIDRs {
		network, err := netip.ParsePrefix(cidr)
		if err != nil {
			continue
		}
		for _, address := range node.Status.Addresses {
			gateway, err := netip.ParseAddr(address.Address)
			if address.Type == corev1.NodeInternalIP && err == nil && gateway.Is4() == network.Addr().Is4() {
				routes = append(routes, podRoute{network, gateway})
				break
			}
		}
	}
	return routes
}

// setRoutes sets or removes the routes to a node. A failure is logged: the
// other nodes' pods are out of reach then, this node works.
func (k *Kubelet) setRoutes(node *corev1.Node, wanted bool) {
	for _, r := range podRoutes(node) {
		route := &netlink.Route{Dst: ipNet(r.network), Gw: r.gateway.AsSlice()}
		var err error
		if wanted {
			err = netlink.RouteReplace(route)
		} else {
			err = netlink.RouteDel(route)
		}
		if err != nil {
			k.log.Printf("route to %s of node %s by %s: %v", r.network, node.Name, r.gateway, err)
		}
	}
}
