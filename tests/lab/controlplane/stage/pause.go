package stage

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// runPause sets the sysctls that are its arguments in the network namespace it
// was started in, says so by closing [ReportFD], and then only exists: the
// namespace lives as long as it, whatever the pod's containers do.
func runPause(args []string) error {
	report := os.NewFile(ReportFD, "report")
	for _, arg := range args {
		if err := setSysctl(arg); err != nil {
			fmt.Fprint(report, err)
			return err
		}
	}
	if err := report.Close(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM, unix.SIGINT)
	<-end
	return nil
}

// setSysctl sets one sysctl, written net.ipv4.ip_forward=1. A dot inside an
// interface's name is written as a slash, as sysctl(8) does.
func setSysctl(assignment string) error {
	key, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return fmt.Errorf("sysctl %q: want key=value", assignment)
	}
	swap := strings.NewReplacer(".", "/", "/", ".")
	path := filepath.Join("/proc/sys", swap.Replace(key))
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("sysctl %s: %w", assignment, err)
	}
	return nil
}
