package stage

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// shutdownGrace bounds the wait for requests under way after SIGTERM.
const shutdownGrace = time.Second

// runHTTP is the program of the image lab/http: a web server, IPv4 and IPv6,
// that says who answered and whom it saw as the client.
//
//	/         pod, node and client as one line of text, and as headers
//	/healthz  200, or what /health set
//	/health?status=503  sets the status of /healthz
func runHTTP(args []string) error {
	flags := flag.NewFlagSet(HTTPName, flag.ContinueOnError)
	port := flags.Int("port", 8080, "TCP port to listen on, all addresses")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(*port)))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: newHandler(os.Getenv), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("%s: listening on %s\n", HTTPName, listener.Addr())

	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM, unix.SIGINT)
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-end:
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// newHandler answers by the environment: POD_NAME, else HOSTNAME, which every
// container has; and NODE_NAME, which a manifest sets by fieldRef.
func newHandler(getenv func(string) string) http.Handler {
	pod := getenv("POD_NAME")
	if pod == "" {
		pod = getenv("HOSTNAME")
	}
	node := getenv("NODE_NAME")
	var health atomic.Int32
	health.Store(http.StatusOK)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		client := clientAddress(r.RemoteAddr)
		w.Header().Set("Lab-Pod", pod)
		w.Header().Set("Lab-Node", node)
		w.Header().Set("Lab-Client", client)
		fmt.Fprintf(w, "pod %s node %s client %s\n", pod, node, client)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		status := int(health.Load())
		w.WriteHeader(status)
		fmt.Fprintln(w, http.StatusText(status))
	})
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(r.URL.Query().Get("status"))
		if err != nil || status < 200 || status > 599 {
			http.Error(w, "want ?status=200 to 599", http.StatusBadRequest)
			return
		}
		health.Store(int32(status))
		fmt.Fprintln(w, status)
	})
	return mux
}

// clientAddress is the peer's IP address, an IPv4 one without its ::ffff:.
func clientAddress(remote string) string {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	return peer.Addr().Unmap().String()
}
