package upload

import (
	"context"
	"os"
)

// Adopt makes the file at path, which is whole and durable and on the file
// system of State, one of the spool's by giving it another name. So it is at
// path or in the spool, whenever the agent ends: with an error it is still at
// path, unless the disk failed after the renaming.
func (u *Uploader) Adopt(_ context.Context, typ, module, name, path string) (Item, error) {
	if err := checkNames(typ, module, name); err != nil {
		return Item{}, err
	}
	if err := u.open(); err != nil {
		return Item{}, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return Item{}, err
	}
	added, dated := u.Now()
	return u.adopt(record{Type: typ, Module: module, Name: name, Size: info.Size(), Added: added, Dated: dated}, path)
}
