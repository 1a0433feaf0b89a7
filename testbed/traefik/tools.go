//go:build tools

// Package traefik pins the ingress that the cluster tests run behind an address. It has no code of its own; the import
// keeps the module in go.mod and go.sum.
package traefik

import _ "github.com/traefik/traefik/v3/cmd/traefik"
