// Reads the verdicts of a station and says for which parts the reject has to fire. .NET 8;
//   dotnet add package NetMQ
//   dotnet run -- tcp://127.0.0.1:5555 [panel.key]
// This example has not been compiled: no .NET was at hand where it was written.

using System.Text.Json;
using NetMQ;
using NetMQ.Sockets;

const int SilentIntervals = 3;
if (args.Length == 0)
{
    Console.Error.WriteLine("usage: ReadVerdicts ADDRESS [KEYFILE]");
    return 2;
}

using var socket = new SubscriberSocket();
if (args.Length > 1)
{
    using var key = JsonDocument.Parse(File.ReadAllText(args[1]));
    string Field(string name) => key.RootElement.GetProperty(name).GetString()!;
    socket.Options.CurveServerKey = Z85.Decode(Field("station"));
    socket.Options.CurveCertificate = new NetMQCertificate(Z85.Decode(Field("secret")), Z85.Decode(Field("public")));
}
socket.Connect(args[0]);
socket.Subscribe("");

string? session = null;
long last = 0;
var interval = TimeSpan.FromSeconds(1);
var heard = Environment.TickCount64;
var frames = new List<string>();
while (true)
{
    frames.Clear();
    if (!socket.TryReceiveMultipartStrings(TimeSpan.FromMilliseconds(100), ref frames, 2))
    {
        // Monotonic: a wall clock that is set must neither hide silence nor make it up.
        if (session != null && Environment.TickCount64 - heard > SilentIntervals * interval.TotalMilliseconds)
        {
            Console.WriteLine("reject: the station is silent");
            heard = Environment.TickCount64;
        }
        continue;
    }
    using var message = JsonDocument.Parse(frames[1]);
    var root = message.RootElement;
    var isVerdict = root.GetProperty("type").GetString() == "verdict";
    var sent = root.GetProperty(isVerdict ? "seq" : "last_seq").GetInt64();
    var before = isVerdict ? sent - 1 : sent;
    var id = root.GetProperty("session_id").GetString();
    if (session == null) last = before;          // joined late: what was sent before was never asked for
    else if (session != id) last = 0;            // started again: numbers begin anew
    else if (isVerdict && sent <= last) continue; // repeated for a new reader
    session = id;
    if (before > last) Console.WriteLine($"reject: verdicts {last + 1} to {before} never came");
    last = Math.Max(last, sent);
    if (isVerdict)
    {
        var evaluation = root.GetProperty("evaluation").GetString();
        Console.WriteLine($"{(evaluation == "OK" ? "pass" : "reject")}: {sent} {root.GetProperty("part_id")} {evaluation}");
        continue;
    }
    heard = Environment.TickCount64;
    interval = TimeSpan.FromSeconds(root.GetProperty("interval_s").GetDouble());
    var state = root.GetProperty("state").GetString();
    if (state != "Running") Console.WriteLine($"reject: the station is {state}");
}
