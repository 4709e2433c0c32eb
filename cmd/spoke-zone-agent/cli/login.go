package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// maxAnswer bounds the address that a person pastes, and a cookie, in bytes.
const maxAnswer = 24 << 10

func (p *Program) loginCommand() *cobra.Command {
	var cookie bool
	cmd := p.talks(&cobra.Command{
		Use:   "login NAME",
		Short: "Log in at the cloud of an account",
		Long: "Get tokens for the account NAME by an authorization code with PKCE: the command\n" +
			"prints an address. Open it in a browser and log in there. The browser then comes\n" +
			"back to this machine, or to a page whose address is to be pasted here. With\n" +
			"--cookie the session cookie of a browser that is logged in is read from the\n" +
			"standard input instead. The tokens go to the daemon alone. This is for root.",
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			var a local.LoginAnswer
			var err error
			if cookie {
				a, err = p.loginByCookie(cmd, args[0])
			} else {
				a, err = p.loginByBrowser(cmd, args[0])
			}
			if err != nil {
				return said(cmd, err)
			}
			_, err = fmt.Fprintf(p.Out, "%s: logged in\n", a.Account)
			return err
		},
	})
	cmd.Flags().BoolVar(&cookie, "cookie", false, "read a session cookie from the standard input")
	return cmd
}

func (p *Program) loginByCookie(cmd *cobra.Command, name string) (local.LoginAnswer, error) {
	text, err := p.readSecretAs("Cookie: ")
	if err != nil {
		return local.LoginAnswer{}, fmt.Errorf("read the cookie: %w", err)
	}
	cookie := strings.TrimSpace(string(text))
	if cookie == "" || len(cookie) > maxAnswer {
		return local.LoginAnswer{}, misuse(cmd, errors.New("the standard input holds no cookie"))
	}
	return p.client().Login(cmd.Context(), name, local.Login{Cookie: cookie})
}

func (p *Program) loginByBrowser(cmd *cobra.Command, name string) (local.LoginAnswer, error) {
	begun, err := p.client().Login(cmd.Context(), name, local.Login{})
	if err != nil {
		return begun, err
	}
	fmt.Fprintf(p.Out, "Open this address and log in:\n\n%s\n\n", printable(begun.Open))
	answer, err := p.awaitRedirect(cmd.Context(), begun)
	if err != nil {
		return begun, err
	}
	return p.client().Login(cmd.Context(), name, local.Login{Answer: answer})
}

// awaitRedirect returns the address to which the browser was sent: what came to
// this machine, or what a person pasted, whichever is first.
func (p *Program) awaitRedirect(ctx context.Context, begun local.LoginAnswer) (string, error) {
	came := make(chan arrival, 1)
	var reading errgroup.Group // it ends with the standard input, and with the program
	reading.Go(func() error {
		line, err := bufio.NewReader(io.LimitReader(p.In, maxAnswer)).ReadString('\n')
		if line = strings.TrimSpace(line); line == "" {
			came <- arrival{err: errors.Join(errors.New("no address was pasted"), err)}
		} else {
			came <- arrival{address: line}
		}
		return nil
	})
	if ln := listenFor(begun.Redirect); ln != nil {
		fmt.Fprintf(p.Out, "Waiting for the browser to come back to %s. If it runs on another machine\nit cannot: then paste the address of the page that it ends on.\n", printable(begun.Redirect))
		return receiveRedirect(ctx, ln, begun, came)
	}
	fmt.Fprintln(p.Out, "Then paste the address of the page that it ends on:")
	select {
	case a := <-came:
		return a.address, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// An arrival is what a person pasted.
type arrival struct {
	address string
	err     error
}

// listenFor listens where the browser will come back to, if that is plain HTTP
// on this machine. Else, and where the port is taken, there is nil.
func listenFor(redirect string) net.Listener {
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme != "http" {
		return nil
	}
	host := u.Hostname()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return nil
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil
	}
	return ln
}

// receiveRedirect serves the cloud's answer to the login that was begun, and no
// other: any user of this machine may knock here.
func receiveRedirect(ctx context.Context, ln net.Listener, begun local.LoginAnswer, pasted <-chan arrival) (string, error) {
	base, berr := url.Parse(begun.Redirect)
	open, oerr := url.Parse(begun.Open)
	if err := errors.Join(berr, oerr); err != nil {
		return "", err
	}
	state := open.Query().Get("state")
	came := make(chan string, 1)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: maxAnswer, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != cmp.Or(base.Path, "/") || state == "" || r.URL.Query().Get("state") != state {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintln(w, "Thank you. You may close this page.")
		at := *base
		at.RawQuery = r.URL.RawQuery
		select {
		case came <- at.String():
		default:
		}
	})}
	var g errgroup.Group
	g.Go(func() error { return srv.Serve(ln) })
	var answer string
	var err error
	for answer == "" && err == nil {
		select {
		case answer = <-came:
		case a := <-pasted:
			answer, pasted = a.address, nil // an input that has ended leaves the browser
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = srv.Shutdown(end) // nothing is lost: the answer is here
	_ = g.Wait()
	return answer, err
}
