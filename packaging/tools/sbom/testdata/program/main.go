// Program is built for several machines by the test.
package main

func main() {}
