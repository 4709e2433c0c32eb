package conf

import "slices"

func (r *reader) module(key string) *Module {
	i := slices.IndexFunc(r.config.Modules, func(m Module) bool { return m.Key == key })
	if i < 0 {
		return nil
	}
	return &r.config.Modules[i]
}

func (r *reader) command(name string) *Command {
	i := slices.IndexFunc(r.config.Commands, func(c Command) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &r.config.Commands[i]
}

func (r *reader) uploadType(typ string) *UploadType {
	i := slices.IndexFunc(r.config.UploadTypes, func(t UploadType) bool { return t.Type == typ })
	if i < 0 {
		return nil
	}
	return &r.config.UploadTypes[i]
}

func (r *reader) collect(name string) *Collect {
	i := slices.IndexFunc(r.config.Collect, func(c Collect) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &r.config.Collect[i]
}
