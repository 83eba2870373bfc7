package kubelet

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// leaseSeconds is the kubelet's default; the control plane's own grace period
// decides when a silent node counts as failed.
const leaseSeconds = 40

// nodeCapacity is what the scheduler may fill: roomy, as nothing enforces it.
func nodeCapacity() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("8"),
		corev1.ResourceMemory:           resource.MustParse("16Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("32Gi"),
		corev1.ResourcePods:             resource.MustParse("250"),
	}
}

// startNode registers the node as Ready, then keeps its Lease and condition.
func (k *Kubelet) startNode(ctx context.Context) error {
	if err := k.registerNode(ctx); err != nil {
		return fmt.Errorf("register node %s: %w", k.config.NodeName, err)
	}
	if err := k.renewLease(ctx); err != nil {
		return fmt.Errorf("lease of node %s: %w", k.config.NodeName, err)
	}
	repair, err := k.watchNodes(ctx)
	if err != nil {
		return err
	}
	go k.heartbeat(ctx, repair)
	return nil
}

// heartbeat renews the Lease, and writes the node's status again when somebody
// (the node lifecycle controller after a silence) has changed it.
func (k *Kubelet) heartbeat(ctx context.Context, repair <-chan struct{}) {
	ticker := time.NewTicker(k.config.Heartbeat)
	defer ticker.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			err = k.renewLease(ctx)
		case <-repair:
			err = k.registerNode(ctx)
		}
		if err != nil && ctx.Err() == nil {
			k.log.Printf("heartbeat of node %s: %v", k.config.NodeName, err)
		}
	}
}

// registerNode creates the Node, or brings an existing one up to date.
func (k *Kubelet) registerNode(ctx context.Context) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		nodes := k.client.CoreV1().Nodes()
		node, err := nodes.Get(ctx, k.config.NodeName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			node, err = nodes.Create(ctx, k.newNode(), metav1.CreateOptions{})
		} else if err == nil && len(node.Spec.PodCIDRs) == 0 && len(k.config.PodCIDRs) > 0 {
			node.Spec = k.newNode().Spec
			node, err = nodes.Update(ctx, node, metav1.UpdateOptions{})
		}
		if err != nil {
			return err
		}
		node.Status.Addresses = k.nodeAddresses()
		node.Status.Capacity, node.Status.Allocatable = nodeCapacity(), nodeCapacity()
		node.Status.NodeInfo = k.nodeInfo()
		node.Status.Conditions = nodeConditions(node.Status.Conditions, metav1.Now())
		_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
		return err
	})
}

func (k *Kubelet) newNode() *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: k.config.NodeName,
		Labels: map[string]string{
			corev1.LabelHostname: k.config.NodeName, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
		},
	}}
	node.Spec.PodCIDRs = texts(k.config.PodCIDRs)
	if len(node.Spec.PodCIDRs) > 0 {
		node.Spec.PodCIDR = node.Spec.PodCIDRs[0]
	}
	return node
}

func (k *Kubelet) nodeAddresses() []corev1.NodeAddress {
	addresses := []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: k.config.NodeName}}
	for _, ip := range texts(k.config.NodeIPs) {
		addresses = append(addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	return addresses
}

func (k *Kubelet) nodeInfo() corev1.NodeSystemInfo {
	return corev1.NodeSystemInfo{
		MachineID:               k.config.NodeName,
		SystemUUID:              k.config.NodeName,
		BootID:                  readLine("/proc/sys/kernel/random/boot_id"),
		KernelVersion:           readLine("/proc/sys/kernel/osrelease"),
		OSImage:                 "Clarion lab",
		ContainerRuntimeVersion: "lab://1",
		KubeletVersion:          "v1.36.3-lab",
		OperatingSystem:         runtime.GOOS,
		Architecture:            runtime.GOARCH,
	}
}

func readLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// nodeConditions are those of a healthy node; times of transitions are kept.
func nodeConditions(old []corev1.NodeCondition, now metav1.Time) []corev1.NodeCondition {
	healthy := []struct {
		kind   corev1.NodeConditionType
		status corev1.ConditionStatus
	}{
		{corev1.NodeMemoryPressure, corev1.ConditionFalse},
		{corev1.NodeDiskPressure, corev1.ConditionFalse},
		{corev1.NodePIDPressure, corev1.ConditionFalse},
		{corev1.NodeNetworkUnavailable, corev1.ConditionFalse},
		{corev1.NodeReady, corev1.ConditionTrue},
	}
	conditions := make([]corev1.NodeCondition, 0, len(healthy))
	for _, h := range healthy {
		condition := corev1.NodeCondition{
			Type: h.kind, Status: h.status, Reason: "LabKubelet", LastHeartbeatTime: now, LastTransitionTime: now,
		}
		for _, o := range old {
			if o.Type == h.kind && o.Status == h.status {
				condition.LastTransitionTime = o.LastTransitionTime
			}
		}
		conditions = append(conditions, condition)
	}
	return conditions
}

// renewLease creates or renews the node's Lease: one write, as the last answer
// has the version to write next. Where that is refused, it is read again.
func (k *Kubelet) renewLease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	leases := k.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	if k.lease == nil {
		lease, err := leases.Get(ctx, k.config.NodeName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			lease, err = leases.Create(ctx, newLease(k.config.NodeName), metav1.CreateOptions{})
		}
		if err != nil {
			return err
		}
		k.lease = lease
	}
	next := k.lease.DeepCopy()
	next.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
	written, err := leases.Update(ctx, next, metav1.UpdateOptions{})
	if err != nil {
		k.lease = nil
		return err
	}
	k.lease = written
	return nil
}

func newLease(node string) *coordv1.Lease {
	seconds := int32(leaseSeconds)
	return &coordv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: node},
		Spec:       coordv1.LeaseSpec{HolderIdentity: &node, LeaseDurationSeconds: &seconds},
	}
}
