"""Programs written for Ray, as tests: one body, judged by real Ray and run on distpool. See compat_tests/README.md."""
