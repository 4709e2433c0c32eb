package conf

// dataFileTypes are those that the cloud is known to take.
var dataFileTypes = []string{"log", "event", "gps", "debug", "journal", "dmesg", "txt"}
