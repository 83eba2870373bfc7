package kubelet

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refreshPeriod is the time between two looks at the sources of a pod's
// volumes: tokens are renewed and changed Secrets and ConfigMaps arrive.
const refreshPeriod = 20 * time.Second

// worker runs one pod from its binding to its end.
type worker struct {
	k *Kubelet
	// spec is the pod as it was when the worker began.
	spec *corev1.Pod
	// ctx ends with the worker's right to talk to the API server.
	ctx     context.Context
	cancel  context.CancelFunc
	sandbox *sandbox
	tokens  *tokenCache

	mu sync.Mutex
	// pod is the object as last seen.
	pod   *corev1.Pod
	state podState
	grace time.Duration

	// dirty holds one token when the status may have to be written.
	dirty chan struct{}
	// stopping is closed when the pod shall end; at once is closed when its
	// grace period is cut short.
	stopping, atOnce chan struct{}
	stopOnce         sync.Once
	atOnceOnce       sync.Once
	// finished is closed when nothing of the pod is left.
	finished chan struct{}
}

func (k *Kubelet) newWorker(pod *corev1.Pod) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	return &worker{
		k: k, spec: pod, ctx: ctx, cancel: cancel, tokens: &tokenCache{tokens: map[string]cachedToken{}},
		pod: pod, state: newPodState(pod),
		dirty: make(chan struct{}, 1), stopping: make(chan struct{}), atOnce: make(chan struct{}), finished: make(chan struct{}),
	}
}

// String names the pod in logs.
func (w *worker) String() string { return "pod " + w.spec.Namespace + "/" + w.spec.Name }

// saw takes a newer version of the object; an older one is ignored.
func (w *worker) saw(pod *corev1.Pod) {
	w.mu.Lock()
	if version(pod) >= version(w.pod) {
		w.pod = pod
	}
	w.mu.Unlock()
	w.markDirty()
}

// version orders versions of one object: resource versions are comparable as
// numbers (KEP-5504).
func version(pod *corev1.Pod) uint64 {
	number, err := strconv.ParseUint(pod.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// update changes the state under the lock and has the status written.
func (w *worker) update(change func()) {
	w.mu.Lock()
	change()
	w.mu.Unlock()
	w.markDirty()
}

func (w *worker) markDirty() {
	select {
	case w.dirty <- struct{}{}:
	default:
	}
}

// stop ends the pod; the first call's grace counts.
func (w *worker) stop(grace time.Duration) {
	w.stopOnce.Do(func() {
		w.mu.Lock()
		w.grace = grace
		w.mu.Unlock()
		close(w.stopping)
	})
}

// hurry ends it without further grace.
func (w *worker) hurry() {
	w.stop(0)
	w.atOnceOnce.Do(func() { close(w.atOnce) })
}

func (w *worker) gracePeriod() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.grace
}

// podGrace is the pod's own grace period.
func podGrace(pod *corev1.Pod) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if pod.DeletionGracePeriodSeconds != nil {
		seconds = *pod.DeletionGracePeriodSeconds
	} else if pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}

// run is the life of the pod.
func (w *worker) run() {
	defer close(w.finished)
	select {
	case <-w.stopping:
		// It was being deleted before this kubelet knew it: nothing of it runs.
		w.complete(func() error { return nil })
		return
	default:
	}
	written := make(chan struct{})
	closing := make(chan struct{})
	go func() {
		defer close(written)
		w.writeStatuses(closing)
	}()
	w.markDirty()
	if w.start() {
		w.runContainers()
	}
	w.k.stopSandbox(w.spec, w.sandbox)
	w.update(func() { w.state.Finished = true })
	<-w.stopping
	close(closing)
	<-written
	w.complete(w.writeStatus)
}

// start makes the sandbox and the volumes, trying again until they are there.
// False means that the pod stops, or cannot be run by this kubelet at all.
func (w *worker) start() bool {
	if err := unsupported(w.spec); err != nil {
		w.trouble("LabUnsupported", err)
		<-w.stopping
		return false
	}
	ok := w.retry("FailedCreatePodSandBox", func() (err error) {
		w.sandbox, err = w.k.startSandbox(w.spec)
		return err
	})
	if !ok {
		return false
	}
	w.update(func() { w.state.IPs = texts(w.sandbox.addresses) })
	return w.retry("FailedMount", func() (err error) {
		w.sandbox.volumes, err = w.k.prepareVolumes(w.ctx, w.spec, w.k.identity(w.sandbox), w.tokens)
		return err
	})
}

// retry calls step until it succeeds or the pod stops.
func (w *worker) retry(reason string, step func() error) bool {
	for {
		err := step()
		if err == nil {
			w.update(func() { w.state.Reason, w.state.Message = "", "" })
			return true
		}
		w.trouble(reason, err)
		timer := time.NewTimer(retryDelay)
		select {
		case <-w.stopping:
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

func (w *worker) trouble(reason string, err error) {
	w.mu.Lock()
	known := w.state.Message == err.Error()
	w.mu.Unlock()
	if known {
		return
	}
	w.k.log.Printf("%s: %s: %v", w, reason, err)
	w.update(func() { w.state.Reason, w.state.Message = reason, err.Error() })
}

// container is the spec and the state of one container.
func (w *worker) container(index int, init bool) (*corev1.Container, *containerState) {
	if init {
		return &w.spec.Spec.InitContainers[index], w.state.Init[index]
	}
	return &w.spec.Spec.Containers[index], w.state.Containers[index]
}

// runContainers runs init containers one after the other, then the containers
// side by side, and returns when all have ended for good.
func (w *worker) runContainers() {
	for i := range w.spec.Spec.InitContainers {
		code := w.runContainer(i, true)
		select {
		case <-w.stopping:
			return
		default:
		}
		if code != 0 {
			return
		}
	}
	ended := make(chan struct{})
	refreshed := make(chan struct{})
	go func() {
		defer close(refreshed)
		w.refreshVolumes(ended)
	}()
	var group sync.WaitGroup
	for i := range w.spec.Spec.Containers {
		group.Go(func() { w.runContainer(i, false) })
	}
	group.Wait()
	close(ended)
	<-refreshed
}

// refreshVolumes keeps volumes with content from the API server up to date.
// When that fails, what is there stays, as with the kubelet.
func (w *worker) refreshVolumes(ended <-chan struct{}) {
	ticker := time.NewTicker(refreshPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-w.stopping:
			return
		case <-ticker.C:
		}
		w.mu.Lock()
		// Labels and annotations of the newest version show in downward volumes.
		pod := w.spec.DeepCopy()
		pod.Labels, pod.Annotations = w.pod.Labels, w.pod.Annotations
		w.mu.Unlock()
		if _, err := w.k.prepareVolumes(w.ctx, pod, w.k.identity(w.sandbox), w.tokens); err != nil && w.ctx.Err() == nil {
			w.k.log.Printf("%s: refresh volumes: %v", w, err)
		}
	}
}

// complete calls last (which writes the last status) and, when the pod is being deleted, removes
// the object: that is how the API learns that nothing of it runs any more.
func (w *worker) complete(last func() error) {
	defer w.cancel()
	for w.ctx.Err() == nil {
		err := last()
		if err == nil {
			err = w.k.removeObject(w.ctx, w.spec)
		}
		if err == nil {
			return
		}
		if w.ctx.Err() == nil {
			w.k.log.Printf("%s: complete deletion: %v", w, err)
		}
		wait(w.ctx, retryDelay)
	}
}

// removeObject deletes exactly this pod from the API at once.
func (k *Kubelet) removeObject(ctx context.Context, pod *corev1.Pod) error {
	now := int64(0)
	err := k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}
