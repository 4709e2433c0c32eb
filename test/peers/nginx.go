package peers

import (
	"fmt"
	"os"
	"path/filepath"
)

// Nginx is a web server in front of an application: it speaks TLS, asks the
// application, and sends the files that the application names by the header
// X-Accel-Redirect, with Range and validators.
type Nginx struct {
	Addr   string // host:port, TLS
	Access string // file of lines "status bytes uri range"

	*process
}

// StartNginx starts a web server in dir. Requests go to upstream, an address
// (no scheme), if it is not empty; below /files/ lies the directory www, open to all;
// rate is how fast a named file is sent ("8m" a second, "0" for no limit); with
// the header X-Accel-Limit-Rate the application says it of one answer. The first
// 8 MiB come at once, whatever the rate.
func StartNginx(dir string, certs Certificates, www, upstream, rate string) (*Nginx, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	n := &Nginx{Addr: addr, Access: filepath.Join(dir, "access.log")}
	proxy := "return 404;"
	if upstream != "" {
		proxy = "proxy_pass http://" + upstream + ";"
	}
	conf := filepath.Join(dir, "nginx.conf")
	err = os.WriteFile(conf, fmt.Appendf(nil, `daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
	log_format short '$status $body_bytes_sent $uri $http_range';
	access_log %[2]s short;
	sendfile on;
	default_type application/octet-stream;
	client_max_body_size 64m;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	ssl_certificate %[3]s;
	ssl_certificate_key %[4]s;
	ssl_protocols TLSv1.2 TLSv1.3;
	server {
		listen %[5]s ssl;
		server_name localhost;
		location / { %[6]s }
		location /files/ { alias %[7]s/; }
		location /named/ { internal; alias %[7]s/; limit_rate %[8]s; limit_rate_after 8m; }
	}
}
`, dir, n.Access, certs.Server, certs.Key, addr, proxy, www, rate), 0o644)
	if err != nil {
		return nil, err
	}
	// Workers run as this user, who can read dir; only root may say so.
	globals := ""
	if os.Getuid() == 0 {
		globals = "user root;"
	}
	n.process, err = start(filepath.Join(dir, "nginx.log"), addr, "nginx", "-e", "stderr", "-p", dir, "-c", conf, "-g", globals)
	return n, err
}

// Stop ends the web server.
func (n *Nginx) Stop() { n.stop() }
