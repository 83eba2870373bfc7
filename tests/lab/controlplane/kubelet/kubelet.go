// Package kubelet is lab-kubelet: one process that plays one node of the lab.
// It registers the node, keeps its Lease, and runs every container of the pods
// bound to it as a real process with exactly the file system, network,
// identity and rights that the Pod spec grants, so that what is missing in a
// manifest fails here first.
//
// Goroutines, all ended by the context of [Run]: the heartbeat (node.go), the
// informers' (pods.go, routes.go), and per pod one worker (worker.go), one
// writer of its status (status.go) and per container one loop (container.go)
// with its probes (prober.go). State of a pod is behind its worker's mutex,
// which is never held across a call to the API server or a wait.
//
// Absences: no cgroups (limits are not enforced), no seccomp or AppArmor, no
// events, no log or exec server, no adoption of containers after a restart.
// What a Pod spec asks for and this kubelet does not do is refused with a
// message that names the field (unsupported.go); it is never ignored.
package kubelet

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Config is what the command line says.
type Config struct {
	Kubeconfig string
	NodeName   string
	// NodeIPs are the node's addresses, at most one of each family; the first
	// is the primary one.
	NodeIPs []netip.Addr
	// PodCIDRs are the node's pod networks, families as in NodeIPs.
	PodCIDRs []netip.Prefix
	// Bridge is the name of the bridge that pods attach to.
	Bridge string
	// RootDir holds all state of the node.
	RootDir string
	Images  Images
	// Heartbeat is the time between two renewals of the node's Lease.
	Heartbeat time.Duration
	// Routes says whether routes to the other nodes' pod networks are kept.
	Routes bool
}

// Kubelet is one node's kubelet.
type Kubelet struct {
	config  Config
	client  kubernetes.Interface
	records *records
	network *network
	// executable is this binary: stages and built-in images run it again.
	executable string
	// lease is the node's Lease as last written; the heartbeat's alone.
	lease *coordv1.Lease
	log   *log.Logger
}

// Main runs lab-kubelet with its arguments and returns the exit code. The
// first argument poweroff selects [PowerOff] instead.
func Main(args []string) int {
	logger := log.New(os.Stderr, "", log.LstdFlags|log.Lmicroseconds)
	if len(args) > 0 && args[0] == "poweroff" {
		return powerOffMain(args[1:], logger)
	}
	config, err := parseFlags(args)
	if err != nil {
		if err != flag.ErrHelp {
			logger.Printf("lab-kubelet: %v", err)
		}
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := Run(ctx, config, logger); err != nil {
		logger.Printf("lab-kubelet: %v", err)
		return 1
	}
	return 0
}

// Run plays the node until ctx ends; then it stops all pods and returns, as a
// node that is shut down in order. The API server is not told.
func Run(ctx context.Context, config Config, logger *log.Logger) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the own executable: %w", err)
	}
	if err := os.MkdirAll(config.RootDir, 0o755); err != nil {
		return fmt.Errorf("--root-dir: %w", err)
	}
	records, err := openRecords(config.RootDir)
	if err != nil {
		return err
	}
	if err := prepareNode(config.RootDir); err != nil {
		return err
	}
	network, err := newNetwork(config)
	if err != nil {
		return err
	}
	rest, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	rest.QPS, rest.Burst, rest.UserAgent = 200, 400, "lab-kubelet/"+config.NodeName
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	k := &Kubelet{config: config, client: client, records: records, network: network, executable: executable, log: logger}
	// The node is registered last: nothing is bound to it before it can run.
	pods, err := k.startPods(ctx)
	if err != nil {
		return err
	}
	if err := k.startNode(ctx); err != nil {
		return err
	}
	k.log.Printf("node %s ready", config.NodeName)
	<-ctx.Done()
	pods.stopAll(shutdownGrace)
	releaseNode(config.RootDir)
	return records.close()
}

func parseFlags(args []string) (Config, error) {
	config := Config{Images: builtinImages()}
	var nodeIPs, podCIDRs string
	flags := flag.NewFlagSet("lab-kubelet", flag.ContinueOnError)
	flags.StringVar(&config.Kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig of a cluster administrator")
	flags.StringVar(&config.NodeName, "node-name", "", "name of the Node")
	flags.StringVar(&nodeIPs, "node-ip", "", "addresses of the node, V4[,V6]")
	flags.StringVar(&podCIDRs, "pod-cidr", "", "pod networks of the node, V4[,V6]")
	flags.StringVar(&config.Bridge, "bridge", "cni0", "bridge for pods, made when missing, with the first address of each pod network")
	flags.StringVar(&config.RootDir, "root-dir", "", "directory for all state of the node")
	flags.DurationVar(&config.Heartbeat, "heartbeat", time.Second, "time between renewals of the node's Lease")
	flags.BoolVar(&config.Routes, "routes", true, "keep routes to the other nodes' pod networks by their InternalIPs")
	flags.Var(config.Images, "image", "`NAME=/path[,/path]`: an image of static binaries, each at /BASENAME; the first is its entry point; repeatable")
	if err := flags.Parse(args); err != nil {
		return config, err
	}
	if flags.NArg() > 0 {
		return config, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return config, config.complete(nodeIPs, podCIDRs)
}

// complete parses and checks what flags cannot.
func (c *Config) complete(nodeIPs, podCIDRs string) error {
	if c.NodeName == "" || c.RootDir == "" || c.Kubeconfig == "" {
		return fmt.Errorf("--node-name, --root-dir and --kubeconfig are needed")
	}
	root, err := filepath.Abs(c.RootDir)
	if err != nil {
		return fmt.Errorf("--root-dir: %w", err)
	}
	c.RootDir = root
	if c.Heartbeat <= 0 {
		return fmt.Errorf("--heartbeat %s: want more than 0", c.Heartbeat)
	}
	for _, text := range strings.Split(nodeIPs, ",") {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("--node-ip: %w", err)
		}
		c.NodeIPs = append(c.NodeIPs, address)
	}
	for _, text := range strings.Split(podCIDRs, ",") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("--pod-cidr: %w", err)
		}
		if prefix.Addr().BitLen()-prefix.Bits() < 3 {
			return fmt.Errorf("--pod-cidr %s: too small for pods, want at least 8 addresses", prefix)
		}
		c.PodCIDRs = append(c.PodCIDRs, prefix.Masked())
	}
	return nil
}
