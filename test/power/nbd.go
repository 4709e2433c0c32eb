package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// The part of the NBD protocol that QEMU uses
// (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md).
const (
	nbdMagic      = 0x4e42444d41474943
	optMagic      = 0x49484156454f5054
	optReplyMagic = 0x3e889045565a9
	requestMagic  = 0x25609513
	replyMagic    = 0x67446698

	optExportName = 1
	optAbort      = 2
	optGo         = 7
	repAck        = 1
	repInfo       = 3
	repUnsup      = 1<<31 + 1

	cmdRead, cmdWrite, cmdDisc, cmdFlush = 0, 1, 2, 3

	flagHasFlags, flagFlush, flagFUA = 1, 4, 8
)

// serve answers one client until it is gone.
func serve(conn net.Conn, d *disk) error {
	defer conn.Close()
	in, out := bufio.NewReader(conn), bufio.NewWriter(conn)
	put := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(out, binary.BigEndian, v)
		}
	}
	flags := uint16(flagHasFlags | flagFlush | flagFUA)
	size := uint64(len(d.durable))
	put(uint64(nbdMagic), uint64(optMagic), uint16(1|2)) // fixed newstyle, no zeroes
	if err := out.Flush(); err != nil {
		return err
	}
	var clientFlags uint32
	if err := binary.Read(in, binary.BigEndian, &clientFlags); err != nil {
		return err
	}
	for ready := false; !ready; {
		var o struct {
			Magic       uint64
			Option, Len uint32
		}
		if err := binary.Read(in, binary.BigEndian, &o); err != nil {
			return err
		}
		if o.Magic != optMagic || o.Len > 1<<16 {
			return errors.New("nbd: not an option")
		}
		if _, err := io.CopyN(io.Discard, in, int64(o.Len)); err != nil {
			return err
		}
		switch o.Option {
		case optExportName:
			put(size, flags)
			ready = true
		case optGo:
			put(uint64(optReplyMagic), o.Option, uint32(repInfo), uint32(12), uint16(0), size, flags)
			put(uint64(optReplyMagic), o.Option, uint32(repAck), uint32(0))
			ready = true
		case optAbort:
			return nil
		default:
			put(uint64(optReplyMagic), o.Option, uint32(repUnsup), uint32(0))
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	for {
		var q struct {
			Magic         uint32
			Flags, Type   uint16
			Handle, Start uint64
			Len           uint32
		}
		if err := binary.Read(in, binary.BigEndian, &q); err != nil {
			return err
		}
		if q.Magic != requestMagic || q.Len > 64<<20 || q.Start+uint64(q.Len) > size {
			return fmt.Errorf("nbd: request of %d bytes at %d", q.Len, q.Start)
		}
		data := []byte(nil)
		switch q.Type {
		case cmdRead:
			data = make([]byte, q.Len)
			d.read(data, int64(q.Start))
		case cmdWrite:
			b := make([]byte, q.Len)
			if _, err := io.ReadFull(in, b); err != nil {
				return err // the power failed on the way
			}
			d.write(b, int64(q.Start), q.Flags&1 != 0)
		case cmdFlush:
			d.flush()
		case cmdDisc:
			return nil
		default:
			return fmt.Errorf("nbd: command %d", q.Type)
		}
		put(uint32(replyMagic), uint32(0), q.Handle)
		_, _ = out.Write(data)
		if err := out.Flush(); err != nil {
			return err
		}
	}
}
