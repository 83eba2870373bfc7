package kubelet

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestVerdictsFollowTheThresholds(t *testing.T) {
	table := []struct {
		name             string
		success, failure int32
		results          string
		want             string
	}{
		{"defaults", 1, 3, "+---+", "p..fp"},
		{"each failure counts", 1, 1, "-+-", "fpf"},
		{"a success ends a run of failures", 1, 3, "--+---", "..p..f"},
		{"two successes", 2, 1, "+-++", ".f.p"},
		{"verdicts repeat", 1, 2, "----", ".fff"},
		{"zero thresholds mean one", 0, 0, "+-", "pf"},
	}
	for _, row := range table {
		tally := newTally(&corev1.Probe{SuccessThreshold: row.success, FailureThreshold: row.failure})
		var got strings.Builder
		for _, result := range row.results {
			got.WriteByte(map[verdict]byte{undecided: '.', passed: 'p', failed: 'f'}[tally.observe(result == '+')])
		}
		if got.String() != row.want {
			t.Errorf("%s: %s, want %s", row.name, &got, row.want)
		}
	}
}

func TestBackoffGrowsToItsLimitAndStartsAnew(t *testing.T) {
	var waits []time.Duration
	var wait time.Duration
	for range 6 {
		wait = nextBackoff(wait, time.Millisecond)
		waits = append(waits, wait)
	}
	for i, want := range []int{1, 2, 4, 8, 10, 10} {
		if waits[i] != time.Duration(want)*time.Second {
			t.Errorf("wait %d is %s, want %d s", i, waits[i], want)
		}
	}
	if got := nextBackoff(backoffMost, backoffReset); got != backoffFirst {
		t.Errorf("after a long life: %s", got)
	}
}

func TestRestartPolicyDecides(t *testing.T) {
	table := []struct {
		policy corev1.RestartPolicy
		code   int
		init   bool
		want   bool
	}{
		{corev1.RestartPolicyAlways, 0, false, true},
		{corev1.RestartPolicyAlways, 0, true, false},
		{corev1.RestartPolicyAlways, 1, true, true},
		{corev1.RestartPolicyOnFailure, 0, false, false},
		{corev1.RestartPolicyOnFailure, 1, false, true},
		{corev1.RestartPolicyNever, 1, false, false},
	}
	for _, row := range table {
		if got := restarts(row.policy, row.code, row.init); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
}

// statusOf is the status of testPod with one container in the state.
func statusOf(pod *corev1.Pod, container *containerState) corev1.PodStatus {
	state := podState{IPs: []string{"10.0.0.2", "fd00::2"}, Containers: []*containerState{container}}
	return buildStatus(pod, &state, []string{"192.0.2.1"}, metav1.Now())
}

func condition(status corev1.PodStatus, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

func TestPodIsReadyWhenContainersGatesAndAnnotationAllow(t *testing.T) {
	ready := &containerState{Name: "c", ID: "lab://1"}
	ready.running(1, metav1.Now(), &corev1.Container{})
	status := statusOf(testPod(), ready)
	if status.Phase != corev1.PodRunning || condition(status, corev1.PodReady).Status != corev1.ConditionTrue || status.PodIP != "10.0.0.2" || len(status.PodIPs) != 2 {
		t.Errorf("ready: %+v", status)
	}
	annotated := testPod()
	annotated.Annotations = map[string]string{readyAnnotation: "false"}
	status = statusOf(annotated, ready)
	if c := condition(status, corev1.PodReady); c.Status != corev1.ConditionFalse || c.Reason != "LabAnnotation" {
		t.Errorf("annotation: %+v", c)
	}
	if c := condition(status, corev1.ContainersReady); c.Status != corev1.ConditionTrue {
		t.Errorf("annotation: the container is ready all the same: %+v", c)
	}
	gated := testPod()
	gated.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "x/y"}}
	if c := condition(statusOf(gated, ready), corev1.PodReady); c.Reason != "ReadinessGatesNotReady" {
		t.Errorf("gate: %+v", c)
	}
	probed := &containerState{Name: "c"}
	probed.running(1, metav1.Now(), &corev1.Container{ReadinessProbe: &corev1.Probe{}})
	if c := condition(statusOf(testPod(), probed), corev1.PodReady); c.Reason != "ContainersNotReady" {
		t.Errorf("probe: %+v", c)
	}
}

func TestPhaseFollowsTheContainers(t *testing.T) {
	fresh := &containerState{}
	fresh.waiting("ContainerCreating", "")
	crashed := &containerState{}
	crashed.terminated(3, metav1.Now(), metav1.Now(), "why")
	crashed.backOff("c", time.Second, true)
	done := &containerState{}
	done.terminated(0, metav1.Now(), metav1.Now(), "")
	table := []struct {
		name     string
		state    *containerState
		finished bool
		want     corev1.PodPhase
	}{
		{"not yet started", fresh, false, corev1.PodPending},
		{"waits after a crash", crashed, false, corev1.PodRunning},
		{"ended well", done, true, corev1.PodSucceeded},
		{"ended before it ran", fresh, true, corev1.PodFailed},
	}
	for _, row := range table {
		state := podState{Containers: []*containerState{row.state}, Finished: row.finished}
		if got := phase(corev1.RestartPolicyAlways, &state); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	if end := crashed.Last.Terminated; end == nil || end.ExitCode != 3 || end.Message != "why" || crashed.State.Waiting.Reason != "CrashLoopBackOff" {
		t.Errorf("the crash is not remembered: %+v", crashed)
	}
}

func TestEqualStatusIsNotWrittenAndADifferenceNamesTheUID(t *testing.T) {
	pod := testPod()
	container := &containerState{Name: "c"}
	container.waiting("ContainerCreating", "")
	pod.Status = statusOf(pod, container)
	same := pod.DeepCopy()
	// The API server keeps whole seconds only; times of equal conditions stay.
	same.Status = statusOf(pod, container)
	same.Status.StartTime = pod.Status.StartTime
	if _, changed, err := statusPatch(pod, same); changed || err != nil {
		t.Errorf("changed %v, %v", changed, err)
	}
	container.running(5, metav1.Now(), &corev1.Container{})
	after := pod.DeepCopy()
	after.Status = statusOf(pod, container)
	patch, changed, err := statusPatch(pod, after)
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	var sent corev1.Pod
	if err := json.Unmarshal(patch, &sent); err != nil || sent.UID != pod.UID {
		t.Errorf("%s: %v", patch, err)
	}
}

func TestRestartedNodeGoesOnCounting(t *testing.T) {
	pod := testPod()
	pod.Spec.Containers = []corev1.Container{{Name: "a"}, {Name: "b"}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "a", ContainerID: "lab://1", RestartCount: 2}, {Name: "b"}}
	state := newPodState(pod)
	if a := state.Containers[0]; a.Restarts != 3 || a.Last.Terminated == nil || a.Last.Terminated.ExitCode != 255 {
		t.Errorf("a: %+v", a)
	}
	if b := state.Containers[1]; b.Restarts != 0 || b.Last.Terminated != nil {
		t.Errorf("b: %+v", b)
	}
}
