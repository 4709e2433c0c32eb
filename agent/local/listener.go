package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// ErrRunning means that another agent answers at the socket.
var ErrRunning = errors.New("another agent is running")

// maxSocketPath is what fits into a sockaddr_un with its closing NUL.
const maxSocketPath = 107

// listen makes the socket at path, for everybody to connect to, in the place
// of one that a killed agent has left. It makes the directory if it has to.
func listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket path %s is longer than %d bytes", path, maxSocketPath)
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil { // bind went by the umask
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// makeDir leaves the mode of a directory that is there to those who made it.
func makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return os.Chmod(dir, 0o755) // Mkdir went by the umask
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is in the way: it is no socket", path)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("%w: it answers at %s", ErrRunning, path), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// A doorman lets so many connections of one uid in at a time, that one user
// cannot keep the others out by leaving no descriptors for them.
type doorman struct {
	net.Listener
	peerOf func(net.Conn) (peer, error)
	each   int // connections of one uid at a time

	mu     sync.Mutex
	inside map[uint32]int
	gone   sync.WaitGroup // one for each connection inside
}

// Accept returns the next connection as a *guest. Connections too many, and
// those whose peer the kernel does not tell, are closed unanswered.
func (d *doorman) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, err := d.peerOf(c)
		if err != nil || !d.enter(p.uid) {
			_ = c.Close() // there is no one to tell
			continue
		}
		return &guest{Conn: c, peer: p, leave: sync.OnceFunc(func() { d.leave(p.uid) })}, nil
	}
}

func (d *doorman) enter(uid uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inside[uid] >= d.each {
		return false
	}
	if d.inside == nil {
		d.inside = make(map[uint32]int)
	}
	d.inside[uid]++
	d.gone.Add(1)
	return true
}

func (d *doorman) leave(uid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inside[uid]--; d.inside[uid] == 0 {
		delete(d.inside, uid)
	}
	d.gone.Done()
}

// A guest is a connection of a known peer.
type guest struct {
	net.Conn
	peer  peer
	leave func()
}

// Close closes the connection and makes room for the next.
func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}

type (
	peerKey  struct{}
	guestKey struct{}
)

// withPeer is an http.Server's ConnContext.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	g := c.(*guest)
	return context.WithValue(context.WithValue(ctx, guestKey{}, g), peerKey{}, g.peer)
}
