package kubelet

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"clarion.dev/lab/controlplane/stage"
)

// everything is a machine whose root holds all capabilities.
const everything = uint64(1)<<41 - 1

func mask(t *testing.T, names ...string) uint64 {
	t.Helper()
	set, err := capabilityMask(names)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestCapabilitiesAreTheDefaultLessDropPlusAdd(t *testing.T) {
	// What containerd shows as CapBnd of a plain container.
	const defaults = 0xa80425fb
	agent := []corev1.Capability{"BPF", "NET_ADMIN", "NET_RAW", "PERFMON"}
	table := []struct {
		name       string
		wanted     *corev1.Capabilities
		privileged bool
		available  uint64
		want       uint64
	}{
		{"nothing said", nil, false, everything, defaults},
		{"drop all", &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, false, everything, 0},
		{"drop all, add four", &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: agent}, false, everything, 0xc000003000},
		{"add wins over drop", &corev1.Capabilities{Drop: []corev1.Capability{"KILL"}, Add: []corev1.Capability{"KILL"}}, false, everything, defaults},
		{"prefix and case", &corev1.Capabilities{Drop: []corev1.Capability{"all"}, Add: []corev1.Capability{"cap_bpf"}}, false, everything, mask(t, "BPF")},
		{"drop one", &corev1.Capabilities{Drop: []corev1.Capability{"NET_RAW"}}, false, everything, defaults &^ (1 << 13)},
		{"add all", &corev1.Capabilities{Add: []corev1.Capability{"ALL"}}, false, everything, everything},
		{"privileged", &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, true, everything, everything},
		{"a default that the machine lacks", nil, false, everything &^ mask(t, "AUDIT_WRITE"), defaults &^ mask(t, "AUDIT_WRITE")},
	}
	for _, row := range table {
		got, err := capabilities(row.wanted, row.privileged, row.available)
		if err != nil || got != row.want {
			t.Errorf("%s: %#x, %v; want %#x", row.name, got, err, row.want)
		}
	}
}

func TestCapabilityThatCannotBeGrantedIsAnErrorWithItsName(t *testing.T) {
	for name, available := range map[corev1.Capability]uint64{"SYS_RESOURCE": everything &^ mask(t, "SYS_RESOURCE"), "NOT_ONE": everything} {
		_, err := capabilities(&corev1.Capabilities{Add: []corev1.Capability{name}}, false, available)
		if err == nil || !strings.Contains(err.Error(), string(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ptr[T any](value T) *T { return &value }

func TestIdentityComesFromTheContainerThenThePod(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{
		RunAsUser: ptr(int64(7)), RunAsGroup: ptr(int64(8)), FSGroup: ptr(int64(9)), SupplementalGroups: []int64{10},
	}}}
	var spec stage.Spec
	if err := grant(&spec, pod, &corev1.Container{}); err != nil {
		t.Fatal(err)
	}
	if spec.UID != 7 || spec.GID != 8 || len(spec.Groups) != 3 || spec.NoNewPrivs || spec.ReadOnlyRoot {
		t.Errorf("pod's: %+v", spec)
	}
	spec = stage.Spec{}
	own := &corev1.Container{SecurityContext: &corev1.SecurityContext{
		RunAsUser: ptr(int64(0)), AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true),
	}}
	if err := grant(&spec, pod, own); err != nil {
		t.Fatal(err)
	}
	if spec.UID != 0 || spec.GID != 8 || !spec.NoNewPrivs || !spec.ReadOnlyRoot {
		t.Errorf("container's: %+v", spec)
	}
	own.SecurityContext.RunAsNonRoot = ptr(true)
	if err := grant(&spec, pod, own); err == nil {
		t.Error("runAsNonRoot let root through")
	}
}

func TestUnsupportedFieldIsNamed(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Lifecycle: &corev1.Lifecycle{}}}}}
	if err := unsupported(pod); err == nil || !strings.HasPrefix(err.Error(), "spec.containers[0].lifecycle:") {
		t.Errorf("%v", err)
	}
	if err := unsupported(&corev1.Pod{}); err != nil {
		t.Error(err)
	}
}
