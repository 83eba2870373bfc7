package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// volumes are the directories and files of the machine that stand for a pod's
// volumes, by volume name.
type volumes map[string]string

func (k *Kubelet) volumeDir(pod *corev1.Pod) string {
	return filepath.Join(k.config.RootDir, "volumes", string(pod.UID))
}

// prepareVolumes makes all volumes of a pod. Called again, it refreshes those
// whose content comes from the API server.
func (k *Kubelet) prepareVolumes(ctx context.Context, pod *corev1.Pod, id identity, tokens *tokenCache) (volumes, error) {
	made := volumes{}
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		path, err := k.prepareVolume(ctx, pod, volume, id, tokens)
		if err != nil {
			return nil, fmt.Errorf("volume %q: %w", volume.Name, err)
		}
		made[volume.Name] = path
	}
	return made, nil
}

func (k *Kubelet) prepareVolume(ctx context.Context, pod *corev1.Pod, volume *corev1.Volume, id identity, tokens *tokenCache) (string, error) {
	if volume.HostPath != nil {
		return prepareHostPath(hostPath(k.config.RootDir, volume.HostPath.Path), volume.HostPath.Type)
	}
	dir := filepath.Join(k.volumeDir(pod), volume.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if volume.EmptyDir != nil {
		return dir, ownEmptyDir(dir, fsGroup(pod))
	}
	files, err := k.payload(ctx, pod, volume, id, tokens)
	if err != nil {
		return "", err
	}
	return dir, writePayload(dir, files, fsGroup(pod))
}

// ownEmptyDir opens the directory to all, or to the group when there is one.
func ownEmptyDir(dir string, group *int64) error {
	mode := os.FileMode(0o777)
	if group != nil {
		if err := os.Chown(dir, -1, int(*group)); err != nil {
			return err
		}
		mode |= os.ModeSetgid
	}
	return os.Chmod(dir, mode)
}

func fsGroup(pod *corev1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// prepareHostPath makes or checks what the type demands.
func prepareHostPath(path string, kind *corev1.HostPathType) (string, error) {
	wanted := corev1.HostPathUnset
	if kind != nil {
		wanted = *kind
	}
	switch wanted {
	case corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate:
		// Without a type the runtime makes a missing directory, as docker did.
		if _, err := os.Stat(path); os.IsNotExist(err) {
			return path, os.MkdirAll(path, 0o755)
		}
	case corev1.HostPathFileOrCreate:
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
		if err != nil {
			return "", err
		}
		return path, file.Close()
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("hostPath type check failed: %w", err)
	}
	return path, checkHostPath(path, wanted, info.Mode())
}

func checkHostPath(path string, wanted corev1.HostPathType, mode os.FileMode) error {
	ok := true
	switch wanted {
	case corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate:
		ok = mode.IsDir()
	case corev1.HostPathFile:
		ok = mode.IsRegular()
	case corev1.HostPathSocket:
		ok = mode&os.ModeSocket != 0
	case corev1.HostPathCharDev:
		ok = mode&os.ModeCharDevice != 0
	case corev1.HostPathBlockDev:
		ok = mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0
	}
	if !ok {
		return fmt.Errorf("hostPath type check failed: %s is not a %s", path, wanted)
	}
	return nil
}

// mountSource is the file that a volumeMount shows.
func (v volumes) mountSource(mount corev1.VolumeMount) (string, error) {
	path, ok := v[mount.Name]
	if !ok {
		return "", fmt.Errorf("volumeMounts: the pod has no volume %q", mount.Name)
	}
	if mount.SubPath == "" {
		return path, nil
	}
	source := filepath.Join(path, filepath.Clean("/"+mount.SubPath))
	if _, err := os.Stat(source); os.IsNotExist(err) {
		return source, os.MkdirAll(source, 0o755)
	}
	return source, nil
}
