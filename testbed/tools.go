//go:build tools

// Package testbed pins what the cluster tests run: an API server with its store, kubectl and kube-proxy, and for pods the
// controller manager, the scheduler and the kubelet. It has no code of its own; these imports keep the modules in go.mod
// and go.sum.
package testbed

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
