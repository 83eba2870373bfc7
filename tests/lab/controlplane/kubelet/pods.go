package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Grace periods that no pod says.
const (
	// shutdownGrace is each container's when the kubelet is told to end.
	shutdownGrace = 3 * time.Second
	// goneGrace is for a pod whose object vanished (a forced deletion).
	goneGrace = time.Second
)

// pods holds the workers of the pods bound to this node.
type pods struct {
	k  *Kubelet
	mu sync.Mutex
	// workers by UID; one stays until its object is gone.
	workers map[types.UID]*worker
	closed  bool
}

// startPods watches this node's pods and returns when the first list is known.
func (k *Kubelet) startPods(ctx context.Context) (*pods, error) {
	p := &pods{k: k, workers: map[types.UID]*worker{}}
	selector := fields.OneTermEqualSelector("spec.nodeName", k.config.NodeName).String()
	factory := informers.NewSharedInformerFactoryWithOptions(k.client, 0,
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.FieldSelector = selector }))
	informer := factory.Core().V1().Pods().Informer()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { p.changed(object) },
		UpdateFunc: func(_, object any) { p.changed(object) },
		DeleteFunc: func(object any) { p.gone(object) },
	})
	if err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil, fmt.Errorf("list pods of node %s: %w", k.config.NodeName, ctx.Err())
	}
	return p, p.pruneVolumes()
}

// pruneVolumes removes the volumes of pods that went while no kubelet ran. It
// is called with the first list handled, so every pod that has any is known.
func (p *pods) pruneVolumes() error {
	dir := filepath.Join(p.k.config.RootDir, "volumes")
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look for old volumes: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, entry := range entries {
		if p.workers[types.UID(entry.Name())] != nil {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("remove old volumes: %w", err)
		}
	}
	return nil
}

// changed starts a worker for a new pod, tells a known one, and begins the end
// of one that is being deleted.
func (p *pods) changed(object any) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	w, known := p.workers[pod.UID]
	if !known {
		if done := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed; done && pod.DeletionTimestamp == nil {
			return // It ended under an earlier kubelet; its object says all.
		}
		w = p.k.newWorker(pod)
		p.workers[pod.UID] = w
		if pod.DeletionTimestamp != nil {
			w.stop(0)
		}
		go p.runWorker(w)
		return
	}
	w.saw(pod)
	if pod.DeletionTimestamp != nil {
		w.stop(podGrace(pod))
	}
}

func (p *pods) runWorker(w *worker) {
	w.run()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, w.spec.UID)
}

// gone ends a pod whose object is no longer there.
func (p *pods) gone(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	p.mu.Lock()
	w := p.workers[pod.UID]
	p.mu.Unlock()
	if w != nil {
		w.stop(goneGrace)
		// A deletion that was under way with more grace is cut short too.
		time.AfterFunc(goneGrace, w.hurry)
	}
}

// stopAll ends every pod without telling the API server.
func (p *pods) stopAll(grace time.Duration) {
	p.mu.Lock()
	p.closed = true
	workers := make([]*worker, 0, len(p.workers))
	for _, w := range p.workers {
		workers = append(workers, w)
	}
	p.mu.Unlock()
	for _, w := range workers {
		w.cancel()
		w.stop(grace)
	}
	for _, w := range workers {
		select {
		case <-w.finished:
		case <-time.After(grace + time.Second):
			w.hurry()
			<-w.finished
		}
	}
}
