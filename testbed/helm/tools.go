//go:build tools

// Package helm pins the helm that the tests of the chart run. It has no code of its own; this import keeps its modules in
// go.mod and go.sum.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
