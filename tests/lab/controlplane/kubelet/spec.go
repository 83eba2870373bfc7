package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"clarion.dev/lab/controlplane/stage"
)

// containerDir holds a container's mount point and the files made for it.
func (k *Kubelet) containerDir(pod *corev1.Pod, c *corev1.Container) string {
	return filepath.Join(k.volumeDir(pod), "..containers", c.Name)
}

// terminationLog is the file behind terminationMessagePath.
func (k *Kubelet) terminationLog(pod *corev1.Pod, c *corev1.Container) string {
	return filepath.Join(k.containerDir(pod, c), "termination-log")
}

// containerSpec turns a container of a Pod spec into a stage's orders.
func (k *Kubelet) containerSpec(ctx context.Context, pod *corev1.Pod, c *corev1.Container, s *sandbox) (*stage.Spec, error) {
	binaries, entry, err := k.config.Images.find(c.Image, k.executable)
	if err != nil {
		return nil, err
	}
	env, lookup, err := k.environment(ctx, pod, c, k.identity(s))
	if err != nil {
		return nil, err
	}
	spec := &stage.Spec{
		NetNS:   s.netNS(),
		Root:    filepath.Join(k.containerDir(pod, c), "root"),
		HostPID: pod.Spec.HostPID,
		Dir:     c.WorkingDir,
		Argv:    argv(c, entry, lookup),
		Env:     env,
	}
	if !pod.Spec.HostNetwork {
		spec.Hostname = hostname(pod)
	}
	if err := grant(spec, pod, c); err != nil {
		return nil, err
	}
	if spec.Mounts, err = k.mounts(pod, c, s, binaries, lookup); err != nil {
		return nil, err
	}
	return spec, nil
}

// argv: command replaces the image's entry point, args its arguments.
func argv(c *corev1.Container, entry string, lookup map[string]string) []string {
	command := []string{entry}
	if len(c.Command) > 0 {
		command = expandAll(c.Command, lookup)
	}
	return append(command, expandAll(c.Args, lookup)...)
}

func (k *Kubelet) mounts(pod *corev1.Pod, c *corev1.Container, s *sandbox, binaries []stage.Mount, lookup map[string]string) ([]stage.Mount, error) {
	dir := k.containerDir(pod, c)
	if err := os.MkdirAll(filepath.Join(dir, "root"), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(k.terminationLog(pod, c), nil, 0o666); err != nil {
		return nil, err
	}
	// The mode above is cut by the umask; the container may have any user.
	if err := os.Chmod(k.terminationLog(pod, c), 0o666); err != nil {
		return nil, err
	}
	mounts, err := etcFiles(dir, pod, s.addresses)
	if err != nil {
		return nil, err
	}
	mounts = append(mounts, stage.Mount{Source: k.terminationLog(pod, c), Target: c.TerminationMessagePath})
	mounts = append(mounts, binaries...)
	wanted := slices.Clone(c.VolumeMounts)
	// Parents before what is mounted inside them.
	slices.SortStableFunc(wanted, func(a, b corev1.VolumeMount) int {
		return strings.Count(filepath.Clean(a.MountPath), "/") - strings.Count(filepath.Clean(b.MountPath), "/")
	})
	for _, mount := range wanted {
		source, err := s.volumes.mountSource(mount)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, stage.Mount{Source: source, Target: mount.MountPath, ReadOnly: mount.ReadOnly || apiVolume(pod, mount.Name)})
	}
	return mounts, nil
}

// apiVolume says whether a volume's content comes from the API server; those
// are read-only whatever the mount says.
func apiVolume(pod *corev1.Pod, name string) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == name {
			return volume.Secret != nil || volume.ConfigMap != nil || volume.Projected != nil || volume.DownwardAPI != nil
		}
	}
	return false
}

// grant sets identity and rights from both security contexts.
func grant(spec *stage.Spec, pod *corev1.Pod, c *corev1.Container) error {
	own := c.SecurityContext
	if own == nil {
		own = &corev1.SecurityContext{}
	}
	shared := pod.Spec.SecurityContext
	if shared == nil {
		shared = &corev1.PodSecurityContext{}
	}
	if user := effectiveUser(pod, c); user != nil {
		spec.UID = uint32(*user)
	}
	nonRoot := own.RunAsNonRoot
	if nonRoot == nil {
		nonRoot = shared.RunAsNonRoot
	}
	if nonRoot != nil && *nonRoot && spec.UID == 0 {
		return fmt.Errorf("container has runAsNonRoot and image will run as root")
	}
	if own.RunAsGroup != nil {
		spec.GID = uint32(*own.RunAsGroup)
	} else if shared.RunAsGroup != nil {
		spec.GID = uint32(*shared.RunAsGroup)
	}
	spec.Groups = []uint32{spec.GID}
	for _, group := range shared.SupplementalGroups {
		spec.Groups = append(spec.Groups, uint32(group))
	}
	if shared.FSGroup != nil {
		spec.Groups = append(spec.Groups, uint32(*shared.FSGroup))
	}
	spec.Privileged = own.Privileged != nil && *own.Privileged
	spec.ReadOnlyRoot = own.ReadOnlyRootFilesystem != nil && *own.ReadOnlyRootFilesystem
	spec.NoNewPrivs = own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation
	available, err := availableCapabilities()
	if err != nil {
		return err
	}
	spec.Capabilities, err = capabilities(own.Capabilities, spec.Privileged, available)
	return err
}

// effectiveUser is runAsUser of the container, else of the pod, else nil.
func effectiveUser(pod *corev1.Pod, c *corev1.Container) *int64 {
	if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
		return c.SecurityContext.RunAsUser
	}
	if pod.Spec.SecurityContext != nil {
		return pod.Spec.SecurityContext.RunAsUser
	}
	return nil
}

// identity is what the pod's downward API says of its addresses.
func (k *Kubelet) identity(s *sandbox) identity {
	var id identity
	if s != nil {
		id.podIPs = texts(s.addresses)
	}
	id.hostIPs = texts(k.config.NodeIPs)
	return id
}

func texts[T fmt.Stringer](values []T) []string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = value.String()
	}
	return out
}
