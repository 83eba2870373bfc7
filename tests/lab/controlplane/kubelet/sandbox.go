package kubelet

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"clarion.dev/lab/controlplane/stage"
)

// sandbox is what a pod's containers share: the network namespace, held by a
// pause process, and a few files. With hostNetwork there is no pause process.
type sandbox struct {
	pause     *running
	addresses []netip.Addr
	volumes   volumes
}

// netNS is the file of the pod's network namespace, "" for the node's own.
func (s *sandbox) netNS() string {
	if s.pause == nil {
		return ""
	}
	return fmt.Sprintf("/proc/%d/ns/net", s.pause.pid)
}

// logDir is where a pod's logs and PID files are, and stay.
func (k *Kubelet) logDir(pod *corev1.Pod) string {
	return filepath.Join(k.config.RootDir, "pods", pod.Namespace+"_"+pod.Name)
}

// startSandbox makes the pod's network. The caller owns what it returns.
func (k *Kubelet) startSandbox(pod *corev1.Pod) (*sandbox, error) {
	if err := os.MkdirAll(k.logDir(pod), 0o755); err != nil {
		return nil, err
	}
	if pod.Spec.HostNetwork {
		return &sandbox{addresses: k.config.NodeIPs}, nil
	}
	// Addresses must be usable at once; the node sees to it that they are unique.
	sysctls := []string{"net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0"}
	if context := pod.Spec.SecurityContext; context != nil {
		for _, sysctl := range context.Sysctls {
			sysctls = append(sysctls, sysctl.Name+"="+sysctl.Value)
		}
	}
	pause, err := k.spawn(request{
		name: stage.PauseName, what: "pause " + pod.Namespace + "/" + pod.Name, args: sysctls, namespaces: unix.CLONE_NEWNET,
	})
	if err != nil {
		return nil, fmt.Errorf("pause process: %w", err)
	}
	addresses, err := k.network.attach(pause.pid, string(pod.UID))
	if err != nil {
		pause.stop(0, nil)
		k.network.detach(string(pod.UID), nil)
		return nil, err
	}
	return &sandbox{pause: pause, addresses: addresses}, nil
}

// stopSandbox ends it; volumes go, logs stay.
func (k *Kubelet) stopSandbox(pod *corev1.Pod, s *sandbox) {
	if s != nil && s.pause != nil {
		s.pause.stop(0, nil)
		k.network.detach(string(pod.UID), s.addresses)
	}
	if err := os.RemoveAll(k.volumeDir(pod)); err != nil {
		k.log.Printf("pod %s/%s: remove volumes: %v", pod.Namespace, pod.Name, err)
	}
}

// etcFiles writes the files that a runtime puts into /etc of every container.
// resolv.conf names no server: the lab has no DNS, and a name that a program
// needs should fail at once.
func etcFiles(dir string, pod *corev1.Pod, addresses []netip.Addr) ([]stage.Mount, error) {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	for _, address := range addresses {
		hosts += fmt.Sprintf("%s\t%s\n", address, hostname(pod))
	}
	contents := map[string]string{"hosts": hosts, "hostname": hostname(pod) + "\n", "resolv.conf": "# no DNS in the lab\n"}
	var mounts []stage.Mount
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(contents[name]), 0o644); err != nil {
			return nil, err
		}
		mounts = append(mounts, stage.Mount{Source: path, Target: "/etc/" + name})
	}
	return mounts, nil
}
