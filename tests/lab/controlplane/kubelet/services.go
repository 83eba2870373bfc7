package kubelet

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// serviceVariables are the variables that every container gets: for the
// Service kubernetes, by which in-cluster clients find the API server, and,
// unless enableServiceLinks is false, for the Services of the pod's namespace.
func (k *Kubelet) serviceVariables(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	api, err := k.client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Service default/kubernetes: %w", err)
	}
	variables := map[string]string{}
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		list, err := k.client.CoreV1().Services(pod.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list Services of %s: %w", pod.Namespace, err)
		}
		for i := range list.Items {
			addLinks(variables, &list.Items[i])
		}
	}
	addLinks(variables, api)
	return variables, nil
}

// addLinks adds NAME_SERVICE_HOST and its relatives for one Service, in the
// form that Docker's links had.
func addLinks(into map[string]string, service *corev1.Service) {
	address := service.Spec.ClusterIP
	if address == "" || address == corev1.ClusterIPNone || len(service.Spec.Ports) == 0 {
		return
	}
	name := strings.ToUpper(strings.ReplaceAll(service.Name, "-", "_"))
	into[name+"_SERVICE_HOST"] = address
	into[name+"_SERVICE_PORT"] = strconv.Itoa(int(service.Spec.Ports[0].Port))
	for i, port := range service.Spec.Ports {
		number := strconv.Itoa(int(port.Port))
		if port.Name != "" {
			into[name+"_SERVICE_PORT_"+strings.ToUpper(strings.ReplaceAll(port.Name, "-", "_"))] = number
		}
		protocol := strings.ToLower(string(port.Protocol))
		url := protocol + "://" + net.JoinHostPort(address, number)
		if i == 0 {
			into[name+"_PORT"] = url
		}
		prefix := name + "_PORT_" + number + "_" + strings.ToUpper(protocol)
		into[prefix], into[prefix+"_PROTO"], into[prefix+"_PORT"], into[prefix+"_ADDR"] = url, protocol, number, address
	}
}
