package stage

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

// runInspect is the program of the image lab/inspect: it prints what a
// container sees of its own rights, files and API server, so that a test can
// hold lab-kubelet against what a manifest grants.
//
//	lab-inspect [-api PATH] [-write FILE] [-hold] [-exit CODE] [-mounts] [-env]
func runInspect(args []string) error {
	flags := flag.NewFlagSet(InspectName, flag.ContinueOnError)
	api := flags.String("api", "", "GET this path of the API server as the pod's ServiceAccount, print status and body")
	write := flags.String("write", "", "try to write this file and print the outcome")
	read := flags.String("read", "", "print this file")
	mounts := flags.Bool("mounts", false, "print the mount table")
	env := flags.Bool("env", false, "print the environment")
	hold := flags.Bool("hold", false, "then wait for SIGTERM")
	exit := flags.Int("exit", 0, "then end with this code")
	if err := flags.Parse(args); err != nil {
		return err
	}
	printStatus()
	if *env {
		fmt.Println(strings.Join(os.Environ(), "\n"))
	}
	if *mounts {
		printFile("/proc/self/mounts")
	}
	if *read != "" {
		printFile(*read)
	}
	if *write != "" {
		err := os.WriteFile(*write, []byte("written\n"), 0o644)
		fmt.Printf("write %s: %v\n", *write, err)
	}
	if *api != "" {
		if err := callAPI(*api); err != nil {
			return err
		}
	}
	if *hold {
		end := make(chan os.Signal, 1)
		signal.Notify(end, unix.SIGTERM)
		<-end
	}
	os.Exit(*exit)
	return nil
}

// printStatus prints identity and rights from /proc/self/status.
func printStatus() {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, line := range strings.Split(string(text), "\n") {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Pid", "Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
			fmt.Println(line)
		}
	}
}

func printFile(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", text)
}

// callAPI asks the API server as any in-cluster client does: environment,
// mounted token and mounted CA.
func callAPI(path string) error {
	token, err := os.ReadFile(serviceAccount + "token")
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	ca, err := os.ReadFile(serviceAccount + "ca.crt")
	if err != nil {
		return fmt.Errorf("CA: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	request, err := http.NewRequest(http.MethodGet, "https://"+host+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	fmt.Printf("api %s %d\n%s\n", path, response.StatusCode, body)
	return nil
}
