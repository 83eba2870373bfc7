package kubelet

import corev1 "k8s.io/api/core/v1"

// tally turns single probe results into verdicts by the thresholds.
type tally struct {
	successThreshold, failureThreshold int32
	last                               bool
	run                                int32
	// hasPassed: there was a success at all.
	hasPassed bool
}

func newTally(probe *corev1.Probe) tally {
	// The API server sets these; a zero would make every result a verdict.
	return tally{successThreshold: max(probe.SuccessThreshold, 1), failureThreshold: max(probe.FailureThreshold, 1)}
}

// verdict is the outcome of a series of probes.
type verdict int

const (
	// undecided: the thresholds are not reached, what was decided stays.
	undecided verdict = iota
	passed
	failed
)

// observe counts one result, and says what the run of equal results means.
func (t *tally) observe(success bool) verdict {
	if t.run == 0 || success != t.last {
		t.last, t.run = success, 0
	}
	t.run++
	t.hasPassed = t.hasPassed || success
	switch {
	case success && t.run >= t.successThreshold:
		return passed
	case !success && t.run >= t.failureThreshold:
		return failed
	default:
		return undecided
	}
}
