package cloudtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// keptContent bounds how much of a data file the Cloud keeps to look at.
const keptContent = 1 << 20

// Types are the types of data file that the API takes.
var Types = []string{"log", "event", "gps", "debug", "journal", "dmesg", "txt"}

var moduleKey = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// A DataFile is what a device registered and then uploaded.
type DataFile struct {
	ID      int       `json:"id"`
	Device  int       `json:"device"`
	Type    string    `json:"type"`
	Module  string    `json:"module,omitempty"`
	Created time.Time `json:"created"`
	Puts    int       `json:"puts"`             // how often content arrived complete
	Others  int       `json:"others,omitempty"` // how often it was another than the time before
	Name    string    `json:"name,omitempty"`
	Size    int64     `json:"size"`
	SHA256  string    `json:"sha256,omitempty"`
	Content []byte    `json:"-"` // its first MiB
}

// DataFiles returns every data file that was registered, by id, with or
// without content.
func (c *Cloud) DataFiles() []DataFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []DataFile
	for _, id := range slices.Sorted(maps.Keys(c.files)) {
		all = append(all, *c.files[id])
	}
	return all
}

// Uploads returns the data files that have content, by id.
func (c *Cloud) Uploads() []DataFile {
	return slices.DeleteFunc(c.DataFiles(), func(f DataFile) bool { return f.Puts == 0 })
}

func (c *Cloud) createDataFile(w http.ResponseWriter, r *http.Request, d *device) {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		c.refuse(w, r, http.StatusBadRequest, apiError{typeOperation, "The content type must be application/json.", map[string]any{}})
		return
	}
	var fields map[string]any
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&fields); err != nil {
		c.refuse(w, r, http.StatusBadRequest, apiError{typeOperation, "The body is not a JSON object.", map[string]any{}})
		return
	}
	f := DataFile{Device: d.ID}
	if errs := f.parse(fields, d.Modules); len(errs) > 0 {
		c.refuse(w, r, http.StatusBadRequest, errs...)
		return
	}
	c.reply(w, r, http.StatusOK, map[string]any{"id": c.id(c.addDataFile(f), r)})
}

func (c *Cloud) addDataFile(f DataFile) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.ID, f.Created = c.nextFile, c.now()
	c.nextFile++
	c.files[f.ID] = &f
	return f.ID
}

// parse reads the fields of a new data file; modules are the allowed keys.
func (f *DataFile) parse(fields map[string]any, modules []string) (errs []apiError) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value, isString := fields[name].(string)
		valid := false
		switch name {
		case "type":
			f.Type = value
			valid = slices.Contains(Types, value)
		case "moduleKey":
			f.Module = value
			valid = moduleKey.MatchString(value) && (len(modules) == 0 || slices.Contains(modules, value))
		default:
			errs = append(errs, fieldError(typeUnknownField, name, "%q is unknown.", name))
			continue
		}
		if !isString || !valid {
			errs = append(errs, fieldError(typeInvalidField, name, "%q contains invalid value %q.", name, fmt.Sprint(fields[name])))
		}
	}
	if _, ok := fields["type"]; !ok {
		errs = append(errs, fieldError(typeRequiredField, "type", "%q is missing.", "type"))
	}
	return errs
}

func (c *Cloud) putDataFile(w http.ResponseWriter, r *http.Request, d *device) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	c.mu.Lock()
	f := c.files[id]
	owned := f != nil && f.Device == d.ID
	full := owned && f.Puts > 0
	c.mu.Unlock()
	if !owned {
		c.refuse(w, r, http.StatusNotFound, notFound("data-file", r.PathValue("id")))
		return
	}
	if _, ok := c.hit(NoSecondPut, operation(r)); ok && full {
		c.refuse(w, r, http.StatusBadRequest, apiError{typeOperation, "The data file has content.", map[string]any{}})
		return
	}
	got, _, problem := c.readFiles(r)
	if problem != nil {
		c.refuse(w, r, http.StatusBadRequest, *problem)
		return
	}
	c.keep(id, got)
	c.reply(w, r, http.StatusOK, map[string]any{"path": fmt.Sprintf("/data-files/%d/%s", id, got.Name)})
}

// keep gives a data file its content.
func (c *Cloud) keep(id int, got DataFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.files[id]
	if f.Puts++; f.Puts > 1 && f.SHA256 != got.SHA256 {
		f.Others++
	}
	f.Name, f.Size, f.SHA256, f.Content = got.Name, got.Size, got.SHA256, got.Content
	c.note(Event{Kind: EventUpload, Op: "data-put", Device: f.Device, ID: id, Size: f.Size, Why: f.Type})
}

// readFiles reads a multipart body whose part "files" is a data file's
// content. Other parts are returned as text.
func (c *Cloud) readFiles(r *http.Request) (got DataFile, values map[string]string, problem *apiError) {
	r.Body = c.cutUpload(r)
	parts, err := r.MultipartReader()
	if err != nil {
		return got, nil, &apiError{typeOperation, "The body is not multipart/form-data.", map[string]any{}}
	}
	values = map[string]string{}
	found := false
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return got, nil, &apiError{typeOperation, "The body is incomplete.", map[string]any{}}
		}
		if part.FormName() != "files" {
			text, _ := io.ReadAll(io.LimitReader(part, 1<<10))
			values[part.FormName()] = string(text)
			continue
		}
		found = true
		got.Name = part.FileName()
		if err := got.read(io.LimitReader(part, c.opt.MaxUpload+1)); err != nil {
			return got, nil, &apiError{typeOperation, "The body is incomplete.", map[string]any{}}
		}
	}
	switch {
	case !found:
		e := fieldError(typeRequiredField, "files", "%q is missing.", "files")
		return got, nil, &e
	case got.Size == 0:
		return got, nil, &apiError{typeOperation, "File is empty", map[string]any{}}
	case got.Size > c.opt.MaxUpload:
		return got, nil, &apiError{typeLimit, "The file is too large.", map[string]any{}}
	}
	return got, values, nil
}

func (f *DataFile) read(r io.Reader) error {
	h := sha256.New()
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		h.Write(buf[:n])
		f.Size += int64(n)
		if room := keptContent - len(f.Content); room > 0 {
			f.Content = append(f.Content, buf[:min(n, room)]...)
		}
		if err == io.EOF {
			f.SHA256 = hex.EncodeToString(h.Sum(nil))
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// cutUpload returns the body, which the fault may end early and for good.
func (c *Cloud) cutUpload(r *http.Request) io.ReadCloser {
	arg, ok := c.hit(CutUpload, operation(r))
	if !ok {
		return r.Body
	}
	n, _ := strconv.ParseInt(arg, 10, 64)
	return &cutReader{ReadCloser: r.Body, left: n, cut: func() { c.spoiler.Abort(CutUpload, operation(r)) }}
}

type cutReader struct {
	io.ReadCloser
	left int64
	cut  func()
}

func (c *cutReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.cut()
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		c.cut() // the answer must not be sent for a body that ended in time
	}
	return n, err
}

// saveLogFile is the deprecated upload in one request.
func (c *Cloud) saveLogFile(w http.ResponseWriter, r *http.Request, d *device) {
	got, values, problem := c.readFiles(r)
	if problem != nil {
		c.reply(w, r, http.StatusBadRequest, map[string]any{"message": problem.Message})
		return
	}
	if values["deviceId"] != strconv.Itoa(d.ID) || !slices.Contains(Types, values["uploadType"]) {
		c.reply(w, r, http.StatusBadRequest, map[string]any{"message": "deviceId or uploadType has an incorrect value."})
		return
	}
	id := c.addDataFile(DataFile{Device: d.ID, Type: values["uploadType"]})
	c.keep(id, got)
	c.reply(w, r, http.StatusOK, map[string]any{"id": id, "path": fmt.Sprintf("/data-files/%d/%s", id, got.Name)})
}
