/* Runs a fuzz target over the files of its corpus folder, where libFuzzer is not linked. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bridge/base/memory.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static int replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    fprintf(stderr, "cannot open %s\n", path);
    return 1;
  }
  struct stat st;
  if (fstat(fileno(file), &st) != 0) {
    fclose(file);
    return 1;
  }
  unsigned char *data = memory_alloc((size_t)st.st_size);
  size_t size = fread(data, 1, (size_t)st.st_size, file);
  fclose(file);
  LLVMFuzzerTestOneInput(data, size);
  free(data);
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
    return 2;
  }
  DIR *folder = opendir(argv[1]);
  if (folder == NULL) {
    fprintf(stderr, "no corpus folder %s\n", argv[1]);
    return 1;
  }
  int replayed = 0, failed = 0;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    if (entry->d_name[0] == '.')
      continue;
    char *path = memory_format("%s/%s", argv[1], entry->d_name);
    failed += replay_file(path);
    replayed++;
    free(path);
  }
  closedir(folder);
  printf("%d inputs replayed\n", replayed);
  return failed > 0 || replayed == 0;
}
