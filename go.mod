module github.com/leno-mesh/leno

go 1.26
