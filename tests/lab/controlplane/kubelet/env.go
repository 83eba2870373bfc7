package kubelet

import (
	"context"
	"fmt"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// identity is what the downward API can say about a pod beyond its object.
type identity struct {
	podIPs, hostIPs []string
}

// environment computes a container's variables in the kubelet's order: the
// Services' (weakest), envFrom, env. They are returned as a map too, by which
// command and args are expanded.
func (k *Kubelet) environment(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id identity) ([]string, map[string]string, error) {
	services, err := k.serviceVariables(ctx, pod)
	if err != nil {
		return nil, nil, err
	}
	declared := map[string]string{}
	for _, from := range c.EnvFrom {
		if err := k.envFrom(ctx, pod.Namespace, from, declared); err != nil {
			return nil, nil, err
		}
	}
	// References see what was declared before them, and the Services'.
	visible := map[string]string{}
	for name, value := range services {
		visible[name] = value
	}
	for name, value := range declared {
		visible[name] = value
	}
	for _, variable := range c.Env {
		value, set, err := k.variable(ctx, pod, c, variable, visible, id)
		if err != nil {
			return nil, nil, fmt.Errorf("env %s: %w", variable.Name, err)
		}
		if set {
			declared[variable.Name], visible[variable.Name] = value, value
		}
	}
	return withDefaults(visible, pod), visible, nil
}

// withDefaults adds what the container runtime sets, and sorts.
func withDefaults(variables map[string]string, pod *corev1.Pod) []string {
	all := map[string]string{
		"PATH":     "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME":     "/",
		"HOSTNAME": hostname(pod),
	}
	for name, value := range variables {
		all[name] = value
	}
	list := make([]string, 0, len(all))
	for name, value := range all {
		list = append(list, name+"="+value)
	}
	sort.Strings(list)
	return list
}

// hostname is the pod's host name; with hostNetwork it is the node's.
func hostname(pod *corev1.Pod) string {
	switch {
	case pod.Spec.HostNetwork:
		return pod.Spec.NodeName
	case pod.Spec.Hostname != "":
		return pod.Spec.Hostname
	default:
		return pod.Name[:min(len(pod.Name), 63)]
	}
}

func (k *Kubelet) envFrom(ctx context.Context, namespace string, from corev1.EnvFromSource, into map[string]string) error {
	if ref := from.ConfigMapRef; ref != nil {
		object, err := k.configMap(ctx, namespace, ref.Name, ref.Optional)
		if err != nil {
			return err
		}
		for key, value := range object.Data {
			into[from.Prefix+key] = value
		}
	}
	if ref := from.SecretRef; ref != nil {
		object, err := k.secret(ctx, namespace, ref.Name, ref.Optional)
		if err != nil {
			return err
		}
		for key, value := range object.Data {
			into[from.Prefix+key] = string(value)
		}
	}
	return nil
}

// variable is one entry of env. It is unset when its optional source is missing.
func (k *Kubelet) variable(ctx context.Context, pod *corev1.Pod, c *corev1.Container, v corev1.EnvVar, visible map[string]string, id identity) (string, bool, error) {
	from := v.ValueFrom
	switch {
	case from == nil:
		return expand(v.Value, visible), true, nil
	case from.FieldRef != nil:
		value, err := podField(pod, from.FieldRef.FieldPath, id)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err := resourceField(pod, c, from.ResourceFieldRef)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		object, err := k.configMap(ctx, pod.Namespace, ref.Name, ref.Optional)
		if err != nil {
			return "", false, err
		}
		value, ok := object.Data[ref.Key]
		return value, ok, missingKey(ok, ref.Optional, "ConfigMap", ref.Name, ref.Key)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		object, err := k.secret(ctx, pod.Namespace, ref.Name, ref.Optional)
		if err != nil {
			return "", false, err
		}
		value, ok := object.Data[ref.Key]
		return string(value), ok, missingKey(ok, ref.Optional, "Secret", ref.Name, ref.Key)
	default:
		return "", false, fmt.Errorf("lab-kubelet knows no such valueFrom")
	}
}

func missingKey(found bool, optional *bool, kind, name, key string) error {
	if found || optional != nil && *optional {
		return nil
	}
	return fmt.Errorf("couldn't find key %s in %s %s", key, kind, name)
}

// configMap reads a ConfigMap; a missing optional one reads as empty.
func (k *Kubelet) configMap(ctx context.Context, namespace, name string, optional *bool) (*corev1.ConfigMap, error) {
	object, err := k.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return &corev1.ConfigMap{}, nil
	}
	return object, err
}

// secret reads a Secret; a missing optional one reads as empty.
func (k *Kubelet) secret(ctx context.Context, namespace, name string, optional *bool) (*corev1.Secret, error) {
	object, err := k.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return &corev1.Secret{}, nil
	}
	return object, err
}

// podField is one field of the downward API.
func podField(pod *corev1.Pod, path string, id identity) (string, error) {
	if key, ok := subscript(path, "metadata.labels"); ok {
		return pod.Labels[key], nil
	}
	if key, ok := subscript(path, "metadata.annotations"); ok {
		return pod.Annotations[key], nil
	}
	first := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return list[0]
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return formatMap(pod.Labels), nil
	case "metadata.annotations":
		return formatMap(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP":
		return first(id.podIPs), nil
	case "status.podIPs":
		return strings.Join(id.podIPs, ","), nil
	case "status.hostIP":
		return first(id.hostIPs), nil
	case "status.hostIPs":
		return strings.Join(id.hostIPs, ","), nil
	}
	return "", fmt.Errorf("fieldPath %q is not known", path)
}

// subscript reads metadata.labels['KEY'].
func subscript(path, field string) (string, bool) {
	rest, ok := strings.CutPrefix(path, field+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// formatMap writes labels as a downwardAPI volume shows them.
func formatMap(values map[string]string) string {
	lines := make([]string, 0, len(values))
	for key, value := range values {
		lines = append(lines, fmt.Sprintf("%s=%q", key, value))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// resourceField is a limit or request of a container, in units of the divisor,
// rounded up. A limit that is not set is what the node has.
func resourceField(pod *corev1.Pod, c *corev1.Container, ref *corev1.ResourceFieldSelector) (string, error) {
	for i := range pod.Spec.Containers {
		if ref.ContainerName == pod.Spec.Containers[i].Name {
			c = &pod.Spec.Containers[i]
		}
	}
	if c == nil {
		return "", fmt.Errorf("resourceFieldRef: container %q is not in the pod", ref.ContainerName)
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := c.Resources.Requests
	if kind == "limits" {
		list = c.Resources.Limits
	}
	quantity, ok := list[corev1.ResourceName(name)]
	if !ok && kind == "limits" {
		quantity = nodeCapacity()[corev1.ResourceName(name)]
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	return fmt.Sprint(divideUp(quantity, divisor)), nil
}

func divideUp(quantity, divisor resource.Quantity) int64 {
	unit := divisor.MilliValue()
	return (quantity.MilliValue() + unit - 1) / unit
}
