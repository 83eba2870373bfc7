package kubelet

import "strings"

// expand replaces $(NAME) by the variable's value, as Kubernetes does in
// command, args and env: a reference to an unknown variable stays as it is,
// and $$ is a $ that begins no reference.
func expand(text string, lookup map[string]string) string {
	var out strings.Builder
	for {
		dollar := strings.IndexByte(text, '$')
		if dollar < 0 || dollar == len(text)-1 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:dollar])
		rest := text[dollar+1:]
		switch rest[0] {
		case '$':
			out.WriteByte('$')
			text = rest[1:]
		case '(':
			end := strings.IndexByte(rest, ')')
			if end < 0 {
				// No end: an ordinary text, and so is all that follows it.
				out.WriteString("$(")
				text = rest[1:]
				continue
			}
			if value, known := lookup[rest[1:end]]; known {
				out.WriteString(value)
			} else {
				out.WriteString("$" + rest[:end+1])
			}
			text = rest[end+1:]
		default:
			out.WriteByte('$')
			text = rest
		}
	}
}

func expandAll(texts []string, lookup map[string]string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = expand(text, lookup)
	}
	return out
}
