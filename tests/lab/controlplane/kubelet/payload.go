package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// tokenCache keeps a pod's tokens, by audience, until they are due.
type tokenCache struct {
	mu     sync.Mutex
	tokens map[string]cachedToken
}

type cachedToken struct {
	text string
	// renew is at 80 % of the token's life.
	renew time.Time
}

// addToken adds a ServiceAccount token bound to the pod. As with the kubelet,
// it is the container user's when all containers have the same one, and then,
// or when the pod has an fsGroup, nobody else can read it.
func (k *Kubelet) addToken(ctx context.Context, files map[string]file, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection, mode os.FileMode, cache *tokenCache) error {
	cache.mu.Lock()
	token, ok := cache.tokens[source.Audience]
	cache.mu.Unlock()
	now := time.Now()
	if !ok || !now.Before(token.renew) {
		text, expires, err := k.requestToken(ctx, pod, source)
		if err != nil {
			return fmt.Errorf("token of ServiceAccount %s: %w", pod.Spec.ServiceAccountName, err)
		}
		token = cachedToken{text, now.Add(expires.Sub(now) * 8 / 10)}
		cache.mu.Lock()
		cache.tokens[source.Audience] = token
		cache.mu.Unlock()
	}
	owner := commonUser(pod)
	if owner != nil || fsGroup(pod) != nil {
		mode = 0o600
	}
	files[source.Path] = file{data: []byte(token.text), mode: mode, owner: owner}
	return nil
}

func (k *Kubelet) requestToken(ctx context.Context, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection) (string, time.Time, error) {
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef:    &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	answer, err := k.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp.Time, nil
}

// commonUser is the user of all containers, when it is one and set.
func commonUser(pod *corev1.Pod) *int64 {
	var common *int64
	all := append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...)
	for i := range all {
		user := effectiveUser(pod, &all[i])
		if user == nil || common != nil && *common != *user {
			return nil
		}
		common = user
	}
	return common
}

// writePayload replaces a volume's files all at once: they are links to
// ..data/NAME, and ..data is a link that is renamed over. Equal files stay.
func writePayload(dir string, files map[string]file, group *int64) error {
	if samePayload(dir, files) {
		return nil
	}
	version, err := os.MkdirTemp(dir, "..v")
	if err != nil {
		return err
	}
	if err := os.Chmod(version, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := writeFile(filepath.Join(version, filepath.Clean("/"+name)), content, group); err != nil {
			return err
		}
	}
	previous, _ := os.Readlink(filepath.Join(dir, "..data"))
	next := filepath.Join(dir, "..data.new")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
		return err
	}
	if err := linkNames(dir, files); err != nil {
		return err
	}
	if previous != "" {
		return os.RemoveAll(filepath.Join(dir, previous))
	}
	return nil
}

// samePayload says whether exactly these files are there with this content.
func samePayload(dir string, files map[string]file) bool {
	if _, err := os.Lstat(filepath.Join(dir, "..data")); err != nil {
		return false
	}
	for name, content := range files {
		data, err := os.ReadFile(filepath.Join(dir, "..data", filepath.Clean("/"+name)))
		if err != nil || !bytes.Equal(data, content.data) {
			return false
		}
	}
	return len(topNames(files)) == len(linkedNames(dir))
}

// topNames are the first components of the files' paths.
func topNames(files map[string]file) map[string]bool {
	tops := map[string]bool{}
	for name := range files {
		top, _, _ := strings.Cut(strings.TrimPrefix(filepath.Clean("/"+name), "/"), "/")
		tops[top] = true
	}
	return tops
}

func linkedNames(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "..") {
			names = append(names, entry.Name())
		}
	}
	return names
}

func linkNames(dir string, files map[string]file) error {
	tops := topNames(files)
	for top := range tops {
		err := os.Symlink(filepath.Join("..data", top), filepath.Join(dir, top))
		if err != nil && !os.IsExist(err) {
			return err
		}
	}
	for _, name := range linkedNames(dir) {
		if !tops[name] {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeFile(path string, content file, group *int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, content.data, 0o600); err != nil {
		return err
	}
	uid, gid, mode := -1, -1, content.mode
	if content.owner != nil {
		uid = int(*content.owner)
	}
	if group != nil {
		gid, mode = int(*group), mode|0o440
	}
	if err := os.Chown(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
