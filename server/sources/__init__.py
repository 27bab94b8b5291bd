"""Where tenants come from: a folder of documents and key files, looked at again and again, compiled and published."""
