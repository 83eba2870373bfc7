package kubelet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clarion.dev/lab/controlplane/stage"
)

// target is what the probes of one running container need.
type target struct {
	container *corev1.Container
	// address is the pod's, the default host of a probe.
	address string
	pid     int
	// spec is the container's: exec probes have its identity and rights.
	spec *stage.Spec
	what string
}

// probeKind tells the three probes of a container apart.
type probeKind string

const (
	startup   probeKind = "startup"
	readiness probeKind = "readiness"
	liveness  probeKind = "liveness"
)

// firstReadyPeriod is the readiness probe's until it succeeds for the first
// time: the one departure from the Pod spec, which spares every test the wait
// of up to a period for a process that was not yet listening when it was
// probed first. It changes no verdict, as not ready is where a container begins.
const firstReadyPeriod = 50 * time.Millisecond

// probe runs one probe until the context ends, and calls decided with each
// verdict that the thresholds allow, repeated ones too. The text tells why.
func (k *Kubelet) probe(ctx context.Context, kind probeKind, probe *corev1.Probe, to target, decided func(verdict, string)) {
	if !wait(ctx, time.Duration(probe.InitialDelaySeconds)*time.Second) {
		return
	}
	tally := newTally(probe)
	period := time.NewTicker(time.Duration(max(probe.PeriodSeconds, 1)) * time.Second)
	defer period.Stop()
	for {
		err := k.probeOnce(ctx, probe, to)
		for kind == readiness && !tally.hasPassed && err != nil && wait(ctx, firstReadyPeriod) {
			err = k.probeOnce(ctx, probe, to)
		}
		if ctx.Err() != nil {
			return
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if v := tally.observe(err == nil); v != undecided {
			decided(v, text)
		}
		select {
		case <-ctx.Done():
			return
		case <-period.C:
		}
	}
}

// wait returns false when the context ended first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (k *Kubelet) probeOnce(ctx context.Context, probe *corev1.Probe, to target) error {
	timeout := time.Duration(max(probe.TimeoutSeconds, 1)) * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		return probeHTTP(ctx, probe.HTTPGet, to)
	case probe.TCPSocket != nil:
		return probeTCP(ctx, probe.TCPSocket, to)
	case probe.Exec != nil:
		return k.probeExec(ctx, probe.Exec, to)
	default:
		return errors.New("lab-kubelet knows no such probe")
	}
}

// endpoint is host:port, the port by number or by the container's name for it.
func endpoint(host string, port intstr.IntOrString, to target) (string, error) {
	if host == "" {
		host = to.address
	}
	if port.Type == intstr.Int {
		return net.JoinHostPort(host, strconv.Itoa(port.IntValue())), nil
	}
	for _, named := range to.container.Ports {
		if named.Name == port.StrVal {
			return net.JoinHostPort(host, strconv.Itoa(int(named.ContainerPort))), nil
		}
	}
	return "", fmt.Errorf("container %s has no port named %q", to.container.Name, port.StrVal)
}

// probeClient keeps no connections, trusts any certificate and follows no
// redirect: a status from 200 to 399 is success in itself.
var probeClient = http.Client{
	Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func probeHTTP(ctx context.Context, get *corev1.HTTPGetAction, to target) error {
	address, err := endpoint(get.Host, get.Port, to)
	if err != nil {
		return err
	}
	scheme := "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	path := get.Path
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/lab")
	for _, header := range get.HTTPHeaders {
		if header.Name == "Host" {
			request.Host = header.Value
		}
		request.Header.Add(header.Name, header.Value)
	}
	response, err := probeClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 256))
	if err != nil {
		return err
	}
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d: %s", response.StatusCode, body)
	}
	return nil
}

func probeTCP(ctx context.Context, socket *corev1.TCPSocketAction, to target) error {
	address, err := endpoint(socket.Host, socket.Port, to)
	if err != nil {
		return err
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return connection.Close()
}

// probeExec runs a command in the container's namespaces, but its PID one,
// with the container's identity and rights.
func (k *Kubelet) probeExec(ctx context.Context, action *corev1.ExecAction, to target) error {
	spec := *to.spec
	spec.Join, spec.Argv = to.pid, action.Command
	child, err := k.spawn(request{name: stage.InitName, what: "probe " + to.what, spec: &spec})
	if err != nil {
		return err
	}
	select {
	case <-child.ended:
	case <-ctx.Done():
		child.stop(0, nil)
		return fmt.Errorf("command timed out: %w", ctx.Err())
	}
	if child.code != 0 {
		return fmt.Errorf("command exited with code %d", child.code)
	}
	return nil
}
