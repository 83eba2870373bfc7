package kubelet

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// writePayload replaces a volume's files all at once: they are links to
// ..data/NAME, and ..data is a link that is renamed over. Equal files stay.
func writePayload(dir string, files map[string]file, group *int64) error {
	if samePayload(dir, files) {
		return nil
	}
	version, err := os.MkdirTemp(dir, "..v")
	if err != nil {
		return err
	}
	if err := os.Chmod(version, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := writeFile(filepath.Join(version, filepath.Clean("/"+name)), content, group); err != nil {
			return err
		}
	}
	previous, _ := os.Readlink(filepath.Join(dir, "..data"))
	next := filepath.Join(dir, "..data.new")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
		return err
	}
	if err := linkNames(dir, files); err != nil {
		return err
	}
	if previous != "" {
		return os.RemoveAll(filepath.Join(dir, previous))
	}
	return nil
}

// samePayload says whether exactly these files are there with this content.
func samePayload(dir string, files map[string]file) bool {
	if _, err := os.Lstat(filepath.Join(dir, "..data")); err != nil {
		return false
	}
	for name, content := range files {
		data, err := os.ReadFile(filepath.Join(dir, "..data", filepath.Clean("/"+name)))
		if err != nil || !bytes.Equal(data, content.data) {
			return false
		}
	}
	return len(topNames(files)) == len(linkedNames(dir))
}

// topNames are the first components of the files' paths.
func topNames(files map[string]file) map[string]bool {
	tops := map[string]bool{}
	for name := range files {
		top, _, _ := strings.Cut(strings.TrimPrefix(filepath.Clean("/"+name), "/"), "/")
		tops[top] = true
	}
	return tops
}

func linkedNames(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "..") {
			names = append(names, entry.Name())
		}
	}
	return names
}

func linkNames(dir string, files map[string]file) error {
	tops := topNames(files)
	for top := range tops {
		err := os.Symlink(filepath.Join("..data", top), filepath.Join(dir, top))
		if err != nil && !os.IsExist(err) {
			return err
		}
	}
	for _, name := range linkedNames(dir) {
		if !tops[name] {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeFile(path string, content file, group *int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, content.data, 0o600); err != nil {
		return err
	}
	uid, gid, mode := -1, -1, content.mode
	if content.owner != nil {
		uid = int(*content.owner)
	}
	if group != nil {
		gid, mode = int(*group), mode|0o440
	}
	if err := os.Chown(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
