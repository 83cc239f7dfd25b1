// Runs a fuzz target over files, for compilers without libFuzzer: `fuzz_x PATH…`, where a folder
// stands for the files in it. Fails without a single input.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

namespace {

namespace fs = std::filesystem;

bool run(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    return false;
  }
  const std::vector<char> content{std::istreambuf_iterator<char>(in), {}};
  // Exactly as long as the input, so that a sanitizer sees a read beyond it.
  const std::vector<uint8_t> bytes(content.begin(), content.end());
  static_cast<void>(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()));
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  size_t inputs = 0;
  for (int i = 1; i < argc; ++i) {
    const fs::path path = argv[i];
    std::vector<fs::path> files;
    if (fs::is_directory(path)) {
      for (const auto& entry : fs::directory_iterator(path)) {
        if (entry.is_regular_file()) files.push_back(entry.path());
      }
    } else {
      files.push_back(path);
    }
    for (const auto& file : files) {
      if (!run(file)) return 1;
      ++inputs;
    }
  }
  if (inputs == 0) {
    std::fputs("usage: fuzz_TARGET FILE-OR-FOLDER...; no input found\n", stderr);
    return 2;
  }
  std::printf("%zu inputs\n", inputs);
  return 0;
}
