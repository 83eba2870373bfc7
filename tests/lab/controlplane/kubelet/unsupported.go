package kubelet

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// unsupported names the first field of a Pod spec that asks for something this
// kubelet does not do; such a pod is not started. Nothing is ignored silently
// but resource limits, seccomp, AppArmor and SELinux, which this package's
// comment declares absent.
func unsupported(pod *corev1.Pod) error {
	spec := &pod.Spec
	switch {
	case spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace:
		return refuse("spec.shareProcessNamespace")
	case len(spec.EphemeralContainers) > 0:
		return refuse("spec.ephemeralContainers")
	case len(spec.ResourceClaims) > 0:
		return refuse("spec.resourceClaims")
	case spec.RuntimeClassName != nil:
		return refuse("spec.runtimeClassName")
	case len(spec.HostAliases) > 0:
		return refuse("spec.hostAliases")
	case spec.HostUsers != nil && !*spec.HostUsers:
		return refuse("spec.hostUsers: false")
	}
	for i := range spec.InitContainers {
		if spec.InitContainers[i].RestartPolicy != nil {
			return refuse(fmt.Sprintf("spec.initContainers[%d].restartPolicy", i))
		}
		if err := unsupportedContainer(fmt.Sprintf("spec.initContainers[%d]", i), &spec.InitContainers[i], spec.HostNetwork); err != nil {
			return err
		}
	}
	for i := range spec.Containers {
		if err := unsupportedContainer(fmt.Sprintf("spec.containers[%d]", i), &spec.Containers[i], spec.HostNetwork); err != nil {
			return err
		}
	}
	return nil
}

func unsupportedContainer(path string, c *corev1.Container, hostNetwork bool) error {
	if c.Lifecycle != nil {
		return refuse(path + ".lifecycle")
	}
	if len(c.VolumeDevices) > 0 {
		return refuse(path + ".volumeDevices")
	}
	if c.Stdin || c.TTY {
		return refuse(path + ".stdin and .tty")
	}
	for _, mount := range c.VolumeMounts {
		if mount.SubPathExpr != "" {
			return refuse(path + ".volumeMounts.subPathExpr")
		}
	}
	for _, port := range c.Ports {
		if port.HostPort != 0 && !hostNetwork {
			return refuse(path + ".ports.hostPort without hostNetwork")
		}
	}
	probes := map[string]*corev1.Probe{"livenessProbe": c.LivenessProbe, "readinessProbe": c.ReadinessProbe, "startupProbe": c.StartupProbe}
	for name, probe := range probes {
		if probe != nil && probe.GRPC != nil {
			return refuse(path + "." + name + ".grpc")
		}
	}
	return nil
}

func refuse(field string) error {
	return fmt.Errorf("%s: lab-kubelet does not do this; leave it out or add it to lab-kubelet", field)
}
