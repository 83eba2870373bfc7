package kubelet

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
