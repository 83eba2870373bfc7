// Package stage holds the processes that lab-kubelet starts by running its own
// executable again under another argv[0]: the stage that becomes a container,
// the pause process that keeps a pod's network namespace, and the two programs
// of the built-in images.
//
// They run from this package's init function and never reach main. The
// multi-call binary spends about 100 ms and 40 MB on the init functions of
// Kubernetes' packages; Go initialises packages in the order of their import
// paths as far as their imports allow, so a package that imports only the
// standard library and x/sys runs after about 12 ms and before all of those.
// Nothing depends on that order but the speed and size of these processes.
package stage

import (
	"fmt"
	"os"
	"path/filepath"
)

// Names of the stages: argv[0] of the processes that the kubelet starts. Those
// of the programs are also the names of their files in the built-in images.
const (
	// InitName becomes a container: see [Spec].
	InitName = "lab-kubelet-init"
	// PauseName keeps a pod's network namespace alive; its arguments are
	// sysctls, key=value, that it sets in it first.
	PauseName = "lab-kubelet-pause"
	// HTTPName is the program of the image lab/http.
	HTTPName = "lab-http"
	// InspectName is the program of the image lab/inspect.
	InspectName = "lab-inspect"
)

// File descriptors that [InitName] and [PauseName] inherit.
const (
	// SpecFD delivers the [Spec] as JSON. End of file before it means that the
	// kubelet died before it had recorded this process, which then ends.
	SpecFD = 3
	// ReportFD takes the text of the error that kept the stage from its work;
	// it closes without a byte when a container's program was executed.
	ReportFD = 4
)

func init() {
	var run func([]string) error
	name := filepath.Base(os.Args[0])
	switch name {
	case InitName:
		run = runInit
	case PauseName:
		run = runPause
	case HTTPName:
		run = runHTTP
	case InspectName:
		run = runInspect
	default:
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}
