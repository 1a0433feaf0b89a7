module github.com/barelb/barelb/testbed/traefik

go 1.26.0

require github.com/traefik/traefik/v3 v3.0.4

// Those of Traefik's own go.mod that its program needs: they do not count in a module that requires it.
replace (
	github.com/abbot/go-http-auth => github.com/containous/go-http-auth v0.4.1-0.20200324110947-a37a7636d23e
	github.com/gorilla/mux => github.com/containous/mux v0.0.0-20220627093034-b2dd784e613f
	github.com/mailgun/minheap => github.com/containous/minheap v0.0.0-20190809180810-6e71eb837595
)

exclude github.com/tencentcloud/tencentcloud-sdk-go v3.0.83+incompatible
