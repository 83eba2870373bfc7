package kubelet

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPoolGoesRoundAndNeverGivesTwice(t *testing.T) {
	p := newPool(netip.MustParsePrefix("10.0.0.0/29"))
	var given []string
	for range 5 {
		address, err := p.take()
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, address.String())
	}
	if want := []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}; !reflect.DeepEqual(given, want) {
		t.Errorf("%v, want %v", given, want)
	}
	if address, err := p.take(); err == nil {
		t.Errorf("a full pool gave %s", address)
	}
	p.give(netip.MustParseAddr("10.0.0.4"))
	if address, err := p.take(); err != nil || address.String() != "10.0.0.4" {
		t.Errorf("%s, %v", address, err)
	}
	six := newPool(netip.MustParsePrefix("fd00::/64"))
	first, _ := six.take()
	six.give(first)
	if second, _ := six.take(); second == first {
		t.Error("a freed address was given again at once")
	}
}

func TestHostPathsStayInsideTheNode(t *testing.T) {
	for path, want := range map[string]string{
		"/sys/fs/bpf":         "/r/bpf",
		"/sys/fs/bpf/clarion": "/r/bpf/clarion",
		"/sys/fs/bpfx":        "/sys/fs/bpfx",
		"/sys/class/net":      "/sys/class/net",
		"/lib/modules":        "/lib/modules",
		"/library":            "/r/host/library",
		"/var/run/x":          "/r/host/var/run/x",
		"/../../etc":          "/r/host/etc",
		"/":                   "/r/host",
	} {
		if got := hostPath("/r", path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestImagesAreFoundWithAndWithoutTag(t *testing.T) {
	images := builtinImages()
	if err := images.Set("reg:5000/clarion=/bin/a,/opt/b"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"reg:5000/clarion", "reg:5000/clarion:dev", "reg:5000/clarion@sha256:00"} {
		mounts, entry, err := images.find(name, "/self")
		if err != nil || entry != "/a" || len(mounts) != 2 || mounts[1].Target != "/b" || !mounts[1].ReadOnly {
			t.Errorf("%s: %v %s %v", name, mounts, entry, err)
		}
	}
	if mounts, entry, err := images.find("lab/http:v1", "/self"); err != nil || entry != "/lab-http" || mounts[0].Source != "/self" {
		t.Errorf("%v %s %v", mounts, entry, err)
	}
	if _, _, err := images.find("other", "/self"); err == nil {
		t.Error("an unknown image was found")
	}
	for _, text := range []string{"x", "x=", "=/a", "x=a"} {
		if err := images.Set(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestRoutesPairNetworksAndAddressesOfAFamily(t *testing.T) {
	node := &corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.244.1.0/24", "fd00:1::/64"}}}
	node.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeHostName, Address: "n1"}, {Type: corev1.NodeInternalIP, Address: "fd00::11"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.11"},
	}
	want := []podRoute{
		{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParseAddr("192.0.2.11")},
		{netip.MustParsePrefix("fd00:1::/64"), netip.MustParseAddr("fd00::11")},
	}
	if got := podRoutes(node); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestPayloadIsReplacedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	write := func(files map[string]file) {
		t.Helper()
		if err := writePayload(dir, files, nil); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]file{"a": {data: []byte("1"), mode: 0o644}, "sub/b": {data: []byte("2"), mode: 0o400}})
	first, _ := os.Readlink(filepath.Join(dir, "..data"))
	write(map[string]file{"a": {data: []byte("1"), mode: 0o644}, "sub/b": {data: []byte("2"), mode: 0o400}})
	if same, _ := os.Readlink(filepath.Join(dir, "..data")); same != first {
		t.Error("equal content was written again")
	}
	write(map[string]file{"a": {data: []byte("3"), mode: 0o644}})
	if text, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(text) != "3" {
		t.Errorf("%q, %v", text, err)
	}
	if names := linkedNames(dir); !reflect.DeepEqual(names, []string{"a"}) {
		t.Errorf("left: %v", names)
	}
	if _, err := os.Stat(filepath.Join(dir, first)); !os.IsNotExist(err) {
		t.Errorf("the old version stays: %v", err)
	}
}

func TestLeftoversAreKilledAndNobodyElse(t *testing.T) {
	victim, other := exec.Command("sleep", "1000"), exec.Command("sleep", "1000")
	for _, command := range []*exec.Cmd{victim, other} {
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
	}
	defer other.Process.Kill()
	start, err := startTime(victim.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	// The second line is a reused PID: another start time.
	path := filepath.Join(t.TempDir(), "pids")
	text := fmt.Sprintf("%d %d container a/b\n%d 1 container a/c\nbroken\n", victim.Process.Pid, start, other.Process.Pid)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := killRecorded(path); err != nil {
		t.Fatal(err)
	}
	if err := victim.Wait(); err == nil {
		t.Error("the leftover ended well")
	}
	if _, err := startTime(other.Process.Pid); err != nil {
		t.Errorf("a stranger was killed: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file stays: %v", err)
	}
}
