package kubelet

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestLeaseIsRenewedByOneWriteAndMadeAnewWhenDeleted(t *testing.T) {
	client := fake.NewClientset()
	k := &Kubelet{client: client, config: Config{NodeName: "n1"}}
	ctx := context.Background()
	if err := k.renewLease(ctx); err != nil {
		t.Fatal(err)
	}
	client.ClearActions()
	if err := k.renewLease(ctx); err != nil {
		t.Fatal(err)
	}
	if actions := client.Actions(); len(actions) != 1 || actions[0].GetVerb() != "update" {
		t.Errorf("a renewal did %v", actions)
	}
	leases := client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	if err := leases.Delete(ctx, "n1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := k.renewLease(ctx); err == nil {
		t.Error("a deleted Lease was renewed")
	}
	if err := k.renewLease(ctx); err != nil {
		t.Error(err)
	}
	if lease, err := leases.Get(ctx, "n1", metav1.GetOptions{}); err != nil || lease.Spec.RenewTime == nil || *lease.Spec.HolderIdentity != "n1" {
		t.Errorf("%+v, %v", lease, err)
	}
}
