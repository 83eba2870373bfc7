package kubelet

import (
	"context"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
)

// file is one file of a volume whose content comes from the API server.
type file struct {
	data []byte
	mode os.FileMode
	// owner is the user that a token belongs to; nil = root.
	owner *int64
}

// payload computes the files of a secret, configMap, downwardAPI or projected
// volume.
func (k *Kubelet) payload(ctx context.Context, pod *corev1.Pod, volume *corev1.Volume, id identity, tokens *tokenCache) (map[string]file, error) {
	files := map[string]file{}
	switch {
	case volume.Secret != nil:
		s := volume.Secret
		return files, k.addSecret(ctx, files, pod.Namespace, s.SecretName, s.Items, s.Optional, fileMode(s.DefaultMode))
	case volume.ConfigMap != nil:
		c := volume.ConfigMap
		return files, k.addConfigMap(ctx, files, pod.Namespace, c.Name, c.Items, c.Optional, fileMode(c.DefaultMode))
	case volume.DownwardAPI != nil:
		return files, addDownward(files, pod, volume.DownwardAPI.Items, fileMode(volume.DownwardAPI.DefaultMode), id)
	case volume.Projected == nil:
		return nil, fmt.Errorf("lab-kubelet has no such kind of volume")
	}
	mode := fileMode(volume.Projected.DefaultMode)
	for _, source := range volume.Projected.Sources {
		var err error
		switch {
		case source.Secret != nil:
			err = k.addSecret(ctx, files, pod.Namespace, source.Secret.Name, source.Secret.Items, source.Secret.Optional, mode)
		case source.ConfigMap != nil:
			err = k.addConfigMap(ctx, files, pod.Namespace, source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional, mode)
		case source.DownwardAPI != nil:
			err = addDownward(files, pod, source.DownwardAPI.Items, mode, id)
		case source.ServiceAccountToken != nil:
			err = k.addToken(ctx, files, pod, source.ServiceAccountToken, mode, tokens)
		default:
			err = fmt.Errorf("lab-kubelet has no such projected source")
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func fileMode(mode *int32) os.FileMode {
	if mode == nil {
		return 0o644
	}
	return os.FileMode(*mode)
}

func (k *Kubelet) addSecret(ctx context.Context, files map[string]file, namespace, name string, items []corev1.KeyToPath, optional *bool, mode os.FileMode) error {
	object, err := k.secret(ctx, namespace, name, optional)
	if err != nil {
		return err
	}
	return addKeys(files, object.Data, items, optional, mode, "Secret "+name)
}

func (k *Kubelet) addConfigMap(ctx context.Context, files map[string]file, namespace, name string, items []corev1.KeyToPath, optional *bool, mode os.FileMode) error {
	object, err := k.configMap(ctx, namespace, name, optional)
	if err != nil {
		return err
	}
	data := map[string][]byte{}
	for key, value := range object.BinaryData {
		data[key] = value
	}
	for key, value := range object.Data {
		data[key] = []byte(value)
	}
	return addKeys(files, data, items, optional, mode, "ConfigMap "+name)
}

// addKeys adds all keys, or the listed ones at their paths.
func addKeys(files map[string]file, data map[string][]byte, items []corev1.KeyToPath, optional *bool, mode os.FileMode, what string) error {
	if items == nil {
		for key, value := range data {
			files[key] = file{data: value, mode: mode}
		}
		return nil
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok && optional != nil && *optional {
			continue
		} else if !ok {
			return fmt.Errorf("%s has no key %q", what, item.Key)
		}
		itemMode := mode
		if item.Mode != nil {
			itemMode = os.FileMode(*item.Mode)
		}
		files[item.Path] = file{data: value, mode: itemMode}
	}
	return nil
}

func addDownward(files map[string]file, pod *corev1.Pod, items []corev1.DownwardAPIVolumeFile, mode os.FileMode, id identity) error {
	for _, item := range items {
		var value string
		var err error
		if item.FieldRef != nil {
			value, err = podField(pod, item.FieldRef.FieldPath, id)
		} else {
			value, err = resourceField(pod, nil, item.ResourceFieldRef)
		}
		if err != nil {
			return err
		}
		itemMode := mode
		if item.Mode != nil {
			itemMode = os.FileMode(*item.Mode)
		}
		files[item.Path] = file{data: []byte(value), mode: itemMode}
	}
	return nil
}
