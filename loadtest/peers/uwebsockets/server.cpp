// A peer for comparisons: echo and rooms on uWebSockets.
//
//     uwebsockets PORT echo|rooms
//
// Compiled with -DWITH_TLS it speaks TLS, by OpenSSL and the certificate in the folder that TLS_FOLDER names.
//
// Rooms are its topics: publish() stores a message once and sends each subscriber all messages of a turn at once.
// It knows no users, no order between servers, no numbers and no history.

#include <App.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>

namespace {

struct Member {};

// The string after `name`, up to the next quote that no backslash precedes.
std::string_view string_after(std::string_view text, std::string_view name) {
    size_t start = text.find(name);
    if (start == text.npos) return {};
    start += name.size();
    size_t end = start;
    while ((end = text.find('"', end)) != text.npos && text[end - 1] == '\\') end++;
    return end == text.npos ? std::string_view{} : text.substr(start, end - start);
}

// 2026-01-02T03:04:05.678Z; the part down to the second is made once a second.
std::string_view timestamp() {
    static std::time_t last;
    static char text[40];
    auto milli = std::chrono::duration_cast<std::chrono::milliseconds>(
                     std::chrono::system_clock::now().time_since_epoch())
                     .count();
    if (std::time_t second = milli / 1000; second != last) {
        std::tm parts;
        gmtime_r(&second, &parts);
        std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.000Z", &parts);
        last = second;
    }
    for (int i = 22, rest = static_cast<int>(milli % 1000); i > 19; i--, rest /= 10) {
        text[i] = static_cast<char>('0' + rest % 10);
    }
    return {text, 24};
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 3) return std::fprintf(stderr, "usage: uwebsockets PORT echo|rooms\n"), 2;
    bool is_echo = std::string_view(argv[2]) == "echo";
#ifdef WITH_TLS
    const char *folder = std::getenv("TLS_FOLDER");
    if (!folder) return std::fprintf(stderr, "TLS_FOLDER is not set\n"), 2;
    std::string key = std::string(folder) + "/key.pem", cert = std::string(folder) + "/cert.pem";
    uWS::SSLApp app({.key_file_name = key.c_str(), .cert_file_name = cert.c_str()});
#else
    uWS::App app;
#endif
    // The application outlives every handler.
    app.ws<Member>("/*", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 64 << 20,
        .idleTimeout = 120,
        .maxBackpressure = 64 << 20,
        .message = [&app, is_echo](auto *socket, std::string_view text, uWS::OpCode opcode) {
            if (is_echo) {
                socket->send(text, opcode);
                return;
            }
            std::string_view room = string_after(text, "\"room\":\"");
            std::string_view message = string_after(text, "\"message\":\"");
            static std::string out;
            if (!message.empty()) {
                out.assign("{\"type\":\"chat_message\",\"room\":\"").append(room);
                out.append("\",\"user_id\":\"u\",\"message\":\"").append(message);
                out.append("\",\"timestamp\":\"").append(timestamp()).append("\"}");
                app.publish(room, out, uWS::OpCode::TEXT, false);
            } else if (text.find("join_room") != text.npos) {
                socket->subscribe(room);
                out.assign("{\"type\":\"room_joined\",\"room\":\"").append(room).append("\",\"members_count\":");
                out.append(std::to_string(app.numSubscribers(room))).append("}");
                socket->send(out, uWS::OpCode::TEXT);
            }
        },
    });
    app.listen("127.0.0.1", std::atoi(argv[1]), [](auto *listening) {
        if (!listening) std::exit(1);
    });
    app.run();
}
