package telemetry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// listenFor is how long a receiver is listened to for one location: it reports
// once a second, slow ones every few.
const listenFor = 5 * time.Second

// NMEA is a receiver at a serial line, or one that the kernel knows (/dev/gnssN).
// It is opened for each location and closed again: between two of them nothing
// that it sends wakes the gateway.
type NMEA struct {
	Device string
	Baud   uint32 // 0: the device has no speed, or the one it has is right
}

// Close has nothing to close.
func (*NMEA) Close() error { return nil }

// Fix listens for a whole sentence RMC.
func (n *NMEA) Fix(ctx context.Context) (Fix, error) {
	f, err := os.OpenFile(n.Device, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Fix{}, err
	}
	defer f.Close()
	if n.Baud > 0 {
		if err := makeRaw(f, n.Baud); err != nil {
			return Fix{}, fmt.Errorf("%s: %w", n.Device, err)
		}
	}
	if err := f.SetReadDeadline(time.Now().Add(listenFor)); err != nil {
		return Fix{}, fmt.Errorf("%s: %w", n.Device, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Now()) }) // ends the Read
	defer stop()
	fix, err := listen(f)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %s is silent", ErrNoFix, n.Device)
	}
	return fix, err
}

// listen reads sentences until one tells where the device is, or that nobody
// knows.
func listen(r io.Reader) (Fix, error) {
	in := bufio.NewReaderSize(r, 4*maxSentence)
	for range 1000 {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue // noise, as from a wrong speed
		}
		if err != nil {
			return Fix{}, err
		}
		fix, err := ParseRMC(line)
		if err == nil || errors.Is(err, ErrNoFix) {
			return fix, err
		}
	}
	return Fix{}, fmt.Errorf("%w: no sentence RMC among 1000 lines", ErrNoFix)
}

// makeRaw sets the speed of the line and switches off whatever would change
// bytes (termios(3), cfmakeraw). The line is not hung up at its end: some
// receivers lose their fix over that.
func makeRaw(f *os.File, baud uint32) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var ioErr error
	err = raw.Control(func(fd uintptr) {
		var t *unix.Termios
		if t, ioErr = unix.IoctlGetTermios(int(fd), unix.TCGETS2); ioErr != nil {
			return
		}
		t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON | unix.IXOFF
		t.Oflag &^= unix.OPOST
		t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		t.Cflag &^= unix.CSIZE | unix.PARENB | unix.CBAUD | unix.HUPCL | unix.CRTSCTS
		t.Cflag |= unix.CS8 | unix.CREAD | unix.CLOCAL | unix.BOTHER
		t.Ispeed, t.Ospeed = baud, baud
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		if ioErr = unix.IoctlSetTermios(int(fd), unix.TCSETS2, t); ioErr == nil {
			ioErr = unix.IoctlSetInt(int(fd), unix.TCFLSH, unix.TCIFLUSH)
		}
	})
	return errors.Join(err, os.NewSyscallError("ioctl", ioErr))
}
