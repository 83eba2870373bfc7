package stage

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestProgramIsFoundByTheContainersPath(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "tool")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=/nowhere:" + dir}
	if got, err := lookPath("tool", env); err != nil || got != program {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := lookPath("/abs/tool", nil); err != nil || got != "/abs/tool" {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"text", "absent"} {
		if got, err := lookPath(name, env); err == nil {
			t.Errorf("%s was found: %q", name, got)
		}
	}
}

func TestMountTargetsStayInsideTheRoot(t *testing.T) {
	for path, want := range map[string]string{"/a/b": "/root/a/b", "../../etc": "/root/etc", "/../x": "/root/x", "": "/root"} {
		if got := inside("/root", path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestWebServerSaysWhoAnsweredWhom(t *testing.T) {
	handler := newHandler(func(name string) string { return map[string]string{"HOSTNAME": "p", "NODE_NAME": "n"}[name] })
	ask := func(path string) *httptest.ResponseRecorder {
		recorder := httptest.NewRecorder()
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.RemoteAddr = "[::ffff:192.0.2.7]:999"
		handler.ServeHTTP(recorder, request)
		return recorder
	}
	if got := ask("/").Body.String(); got != "pod p node n client 192.0.2.7\n" {
		t.Errorf("%q", got)
	}
	if got := ask("/healthz").Code; got != http.StatusOK {
		t.Errorf("healthz: %d", got)
	}
	if got := ask("/health?status=7").Code; got != http.StatusBadRequest {
		t.Errorf("health: %d", got)
	}
	ask("/health?status=503")
	if got := ask("/healthz").Code; got != http.StatusServiceUnavailable {
		t.Errorf("healthz after 503: %d", got)
	}
}

func TestCapabilitiesOfThisMachineAreRead(t *testing.T) {
	if last := LastCapability(); last < 39 || last > 63 {
		t.Errorf("last capability %d: CAP_BPF is 39", last)
	}
	if _, err := BoundingSet(); err != nil {
		t.Error(err)
	}
}
