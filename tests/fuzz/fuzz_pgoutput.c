/* A stream of pgoutput frames, each with its length as u16 before it, fed to one decoder until it refuses one. */
#include "decoders/reader.h"
#include "tests/fuzz/decoder_frames.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  struct decoder *dec = decoder_new(decoder_class_find("pgoutput"));
  struct reader input = reader_over(slice_from((const char *)data, size));
  bool ok = true;
  while (ok && reader_left(&input) > 0) {
    struct slice frame = reader_bytes(&input, reader_u16(&input));
    if (reader_failed(&input))
      break;
    ok = decode_and_read(dec, frame);
  }
  decoder_free(dec);
  return 0;
}
