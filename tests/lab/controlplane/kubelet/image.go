package kubelet

import (
	"fmt"
	"path/filepath"
	"strings"

	"clarion.dev/lab/controlplane/stage"
)

// Images maps the name of an image to the static binaries in it. An image is
// what a Containerfile FROM scratch makes: an empty root with each binary at
// /BASENAME, the first being the entry point, and root the user.
type Images map[string][]string

// builtinImages are programs of this binary itself, so that a workload needs
// nothing but the kubelet: lab/http (a web server) and lab/inspect (prints the
// rights it was given). Their paths are the stages' names; see [Images.find].
func builtinImages() Images {
	return Images{
		"lab/http":    {stage.HTTPName},
		"lab/inspect": {stage.InspectName},
	}
}

// String is part of flag.Value.
func (i Images) String() string { return fmt.Sprint(map[string][]string(i)) }

// Set adds one image, NAME=/path[,/path].
func (i Images) Set(text string) error {
	name, list, ok := strings.Cut(text, "=")
	if !ok || name == "" || list == "" {
		return fmt.Errorf("want NAME=/path[,/path], not %q", text)
	}
	paths := strings.Split(list, ",")
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("path %q of image %s is not absolute", path, name)
		}
	}
	i[name] = paths
	return nil
}

// find returns the image's binaries as mounts and its entry point. A name is
// known exactly or without its tag; executable stands for built-in programs.
func (i Images) find(name, executable string) ([]stage.Mount, string, error) {
	paths, ok := i[name]
	if !ok {
		paths, ok = i[untagged(name)]
	}
	if !ok {
		return nil, "", fmt.Errorf("image %q is not known to this node: start lab-kubelet with --image %s=/path/of/binary", name, name)
	}
	mounts := make([]stage.Mount, 0, len(paths))
	for _, path := range paths {
		source := path
		if !filepath.IsAbs(path) {
			source = executable
		}
		mounts = append(mounts, stage.Mount{Source: source, Target: "/" + filepath.Base(path), ReadOnly: true})
	}
	return mounts, mounts[0].Target, nil
}

// untagged removes a tag or digest; a colon before the last slash is a port.
func untagged(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		return name[:colon]
	}
	return name
}
