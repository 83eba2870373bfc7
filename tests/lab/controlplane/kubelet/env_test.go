package kubelet

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
)

func TestReferencesAreExpandedAsKubernetesDoes(t *testing.T) {
	lookup := map[string]string{"A": "1", "B": "$(A)", "EMPTY": ""}
	for text, want := range map[string]string{
		"":             "",
		"plain":        "plain",
		"$(A)":         "1",
		"x$(A)y$(A)":   "x1y1",
		"$(B)":         "$(A)",
		"$(EMPTY)":     "",
		"$(UNKNOWN)":   "$(UNKNOWN)",
		"$$(A)":        "$(A)",
		"$$$(A)":       "$1",
		"$$$$(A)":      "$$(A)",
		"$A":           "$A",
		"$":            "$",
		"a$":           "a$",
		"$(A":          "$(A",
		"$(A $(B)":     "$(A $(B)",
		"--x=$(A),$$5": "--x=1,$5",
	} {
		if got := expand(text, lookup); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func testPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"app/x": "web", "b": "2"}},
		Spec:       corev1.PodSpec{NodeName: "n1", ServiceAccountName: "sa"},
	}
}

func fieldRef(path string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
}

func TestEnvironmentHasServicesSourcesAndFields(t *testing.T) {
	service := func(namespace, name, ip string, port int32) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{
			ClusterIP: ip, Ports: []corev1.ServicePort{{Name: "https", Port: port, Protocol: corev1.ProtocolTCP}},
		}}
	}
	k := &Kubelet{client: fake.NewClientset(
		service("default", "kubernetes", "10.96.0.1", 443), service("ns", "my-web", "fd00::5", 80), service("ns", "headless", "None", 80),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}, Data: map[string]string{"k": "from map", "X": "weak"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}, Data: map[string][]byte{"k": []byte("hidden")}},
	)}
	c := &corev1.Container{
		EnvFrom: []corev1.EnvFromSource{{Prefix: "P_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}}},
		Env: []corev1.EnvVar{
			{Name: "P_X", Value: "strong"},
			{Name: "NODE", ValueFrom: fieldRef("spec.nodeName")},
			{Name: "LABEL", ValueFrom: fieldRef("metadata.labels['app/x']")},
			{Name: "IPS", ValueFrom: fieldRef("status.podIPs")},
			{Name: "HOST_IP", ValueFrom: fieldRef("status.hostIP")},
			{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k"}}},
			{Name: "ABSENT", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "no"}, Key: "k", Optional: ptr(true)}}},
			{Name: "CPU", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu", Divisor: resource.MustParse("1m")}}},
			{Name: "URL", Value: "https://$(KUBERNETES_SERVICE_HOST) $(NODE) $(LATER)"},
			{Name: "LATER", Value: "x"},
		},
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")}},
	}
	id := identity{podIPs: []string{"10.0.0.2", "fd00::2"}, hostIPs: []string{"192.0.2.1"}}
	list, lookup, err := k.environment(context.Background(), testPod(), c, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_SERVICE_PORT_HTTPS=443",
		"KUBERNETES_PORT=tcp://10.96.0.1:443", "MY_WEB_SERVICE_HOST=fd00::5", "MY_WEB_PORT=tcp://[fd00::5]:80",
		"P_k=from map", "P_X=strong", "NODE=n1", "LABEL=web", "IPS=10.0.0.2,fd00::2", "HOST_IP=192.0.2.1", "SECRET=hidden",
		"CPU=250", "URL=https://10.96.0.1 n1 $(LATER)", "HOSTNAME=p",
	} {
		if !slices.Contains(list, want) {
			t.Errorf("%q is missing in %q", want, list)
		}
	}
	for name := range maps.Keys(lookup) {
		if name == "ABSENT" || strings.HasPrefix(name, "HEADLESS") {
			t.Errorf("%s should not be set", name)
		}
	}
}

func TestMissingSourceNamesObjectAndKey(t *testing.T) {
	k := &Kubelet{client: fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}})}
	v := corev1.EnvVar{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}, Key: "gone"}}}
	_, _, err := k.variable(context.Background(), testPod(), &corev1.Container{}, v, nil, identity{})
	if err == nil || !strings.Contains(err.Error(), "key gone in ConfigMap c") {
		t.Errorf("%v", err)
	}
	if _, err := podField(testPod(), "status.nothing", identity{}); err == nil {
		t.Error("an unknown field was accepted")
	}
}

func TestCommandReplacesEntryPointAndArgsFollow(t *testing.T) {
	lookup := map[string]string{"PORT": "80"}
	got := argv(&corev1.Container{Args: []string{"--port=$(PORT)"}}, "/http", lookup)
	if !slices.Equal(got, []string{"/http", "--port=80"}) {
		t.Errorf("%q", got)
	}
	got = argv(&corev1.Container{Command: []string{"/x", "$(PORT)"}, Args: []string{"y"}}, "/http", lookup)
	if !slices.Equal(got, []string{"/x", "80", "y"}) {
		t.Errorf("%q", got)
	}
}

func TestProbeEndpointTakesHostAndNamedPort(t *testing.T) {
	to := target{address: "fd00::2", container: &corev1.Container{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}
	for _, row := range []struct {
		host string
		port intstr.IntOrString
		want string
	}{
		{"", intstr.FromString("http"), "[fd00::2]:8080"},
		{"127.0.0.1", intstr.FromInt32(17472), "127.0.0.1:17472"},
	} {
		if got, err := endpoint(row.host, row.port, to); err != nil || got != row.want {
			t.Errorf("%v: %q, %v", row, got, err)
		}
	}
	if _, err := endpoint("", intstr.FromString("none"), to); err == nil {
		t.Error("an unknown port name was accepted")
	}
}
